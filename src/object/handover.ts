/**
 * Handover: what a device holds of partitions that are not its own (copies made while a primary was away,
 * or left behind by a ring change) goes to the primaries, and is dropped once every one of them has it.
 *
 * Dropping is compare-and-drop: only the very state that each primary confirmed, as complete replica
 * and with its body where it keeps bodies, and only if its row is acknowledged. Anything that changed
 * meanwhile stays for the next round.
 */
import { decodeState } from '#base/entry-codec.ts';
import { codeOf } from '#base/errors.ts';
import { ACCOUNT_RING, CONTAINER_RING } from '#base/names.ts';
import { type Device, type Entry, isServing } from '#device/contract.ts';
import type { Env } from '#env/env.ts';
import type { ClusterSource } from '#ring/cluster.ts';
import type { Ring } from '#ring/ring.ts';
import { isMember } from '#ring/ring-check.ts';
import type { Caller } from '#wire/contract.ts';
import type { Job, StepResult } from '#worker/job.ts';
import { type Debt, DebtCount } from './debt.ts';
import { ForeignEntries, passOf } from './foreign-entries.ts';
import type { Devices } from './guard.ts';
import { isBodiless } from './incoming.ts';
import { type Given, membersOf, PrimaryCopies } from './primary-copies.ts';
import { versionKey } from './version.ts';

const AT_ONCE = 16;
const IDLE_MS = 10_000;
const RETRY_MS = 5_000;
/** An entry this young is probably being written to its primaries right now. */
const MIN_AGE_MICROS = 10_000_000;

export class Handover implements Job {
  readonly name = 'object.handover';
  readonly #env: Env;
  readonly #cluster: ClusterSource;
  readonly #devices: Devices;
  readonly #foreign: ForeignEntries;
  readonly #copies: PrimaryCopies;
  readonly #debt = new DebtCount();
  #held = 0;
  #dropped = 0;

  constructor(
    env: Env,
    caller: Caller,
    cluster: ClusterSource,
    devices: Devices,
    self: { readonly node: string },
  ) {
    this.#env = env;
    this.#cluster = cluster;
    this.#devices = devices;
    this.#foreign = new ForeignEntries(env.clock);
    this.#copies = new PrimaryCopies(caller, self);
  }

  facts(): Record<string, number> {
    return { held: this.#held, dropped: this.#dropped };
  }

  /** When the device was last found to hold nothing of others in this ring, in monotonic time. */
  clearedAtMs(device: number, ring: Ring): number | undefined {
    return this.#foreign.clearedAtMs(device, ring);
  }

  /** What this node's stand-ins hold for other sites. */
  debt(): Map<string, Debt> {
    return this.#debt.bySite();
  }

  async step(signal: AbortSignal): Promise<StepResult> {
    let found = 0;
    let dropped = 0;
    const holding = new Set<string>();
    for (const device of this.#devices().values()) {
      if (!isServing(device.status) || !isMember(this.#cluster.current(), device.id)) continue;
      for (const ring of this.#cluster.current().rings.values()) {
        if (ring.policy === CONTAINER_RING || ring.policy === ACCOUNT_RING) continue;
        const { entries, isNewPass } = this.#foreign.next(device, ring);
        const pass = passOf(device, ring);
        if (entries.length > 0) holding.add(pass);
        if (isNewPass) this.#debt.ended(pass);
        found += entries.length;
        for (let i = 0; i < entries.length && !signal.aborted; i += AT_ONCE) {
          const some = entries.slice(i, i + AT_ONCE);
          const done = await Promise.all(some.map((entry) => this.#handOver(device, ring, entry)));
          dropped += done.filter(Boolean).length;
        }
      }
    }
    this.#debt.keep(holding);
    this.#held = found - dropped;
    this.#dropped += dropped;
    if (dropped > 0) return { kind: 'more' };
    return { kind: 'idle', waitMs: found > 0 ? RETRY_MS : IDLE_MS };
  }

  /** True: every primary has it, and it was dropped here. */
  async #handOver(device: Device, ring: Ring, entry: Entry): Promise<boolean> {
    if (this.#isYoung(entry)) return false;
    try {
      if (isBodiless(entry)) return await this.#dropEmpty(device, ring, entry);
      const answers = await this.#copies.give(device, ring, entry);
      this.#owe(device, ring, entry, answers);
      const given = answers.map(settled);
      if (!given.every(({ isSafe }) => isSafe)) return false;
      // A POST to a version that has expired since, which none of them was told of: nobody has its bytes.
      if (entry.state.data === undefined && given.every(({ isFreed }) => isFreed)) {
        return await device.forget(entry);
      }
      const own = versionKey(entry.state);
      if (given.every(({ version }) => version === own)) return await device.forget(entry);
      return await this.#catchUp(device, ring, entry, given);
    } catch (error) {
      const facts = { device: device.id, path: entry.path, error: codeOf(error) };
      this.#env.log.debug('object.handover-failed', facts);
    }
    return false;
  }

  /** Its body is lost: there is nothing to give, and no primary takes the state alone (incoming.ts). */
  async #dropEmpty(device: Device, ring: Ring, entry: Entry): Promise<boolean> {
    const known = await this.#copies.look(ring, entry);
    return known.every(({ isSafe }) => isSafe) && (await device.forget(entry));
  }

  /** What stays here waits for the sites whose primaries have not taken it. */
  #owe(
    device: Device,
    ring: Ring,
    { key, state }: Entry,
    answers: readonly PromiseSettledResult<Given>[],
  ): void {
    const sites = membersOf(ring, key.hash).flatMap(({ primary: { site } }, i) => {
      const answer = answers[i]!;
      return answer.status === 'fulfilled' && answer.value.isSafe ? [] : [site];
    });
    const bytes = state.data?.body?.length ?? 0;
    for (const site of new Set(sites)) this.#debt.add(passOf(device, ring), site, bytes);
  }

  /**
   * All primaries have one newer version, bodies and all: then what is here is out of date, joins it, and is
   * dropped as the state that they have just confirmed. True: it was.
   */
  async #catchUp(
    device: Device,
    ring: Ring,
    { key, path }: Entry,
    given: readonly Given[],
  ): Promise<boolean> {
    const [first, ...others] = given;
    if (first === undefined || others.some(({ version }) => version !== first.version))
      return false;
    const known = await this.#copies.state(ring, first.primary, key);
    if (known === undefined) return false;
    const state = decodeState(known);
    await device.write({ key, path, state, unlisted: false, intent: 'join' });
    const joined = device.stat(key);
    if (joined === undefined || versionKey(joined.state) !== first.version) return false;
    return device.forget(joined);
  }

  /** One from a clock far ahead of ours is not young for hours: too early is only some work for nothing. */
  #isYoung(entry: Entry): boolean {
    const micros = entry.state.data === undefined ? 0 : entry.state.data.clientMicros;
    return Math.abs(this.#env.clock.wallMicros() - micros) < MIN_AGE_MICROS;
  }
}

function settled(answer: PromiseSettledResult<Given>): Given {
  if (answer.status === 'rejected') throw answer.reason;
  return answer.value;
}
