/**
 * Handover: what a device holds of partitions that are not its own (copies made while a primary was away,
 * or left behind by a ring change) goes to the primaries, and is dropped once every one of them has it.
 *
 * Dropping is compare-and-drop: only the very state that each primary confirmed, as complete replica
 * and with its body where it keeps bodies, and only if its row is acknowledged. Anything that changed
 * meanwhile stays for the next round.
 */
import { bodyLength } from '#base/entry.ts';
import { decodeState, encodeState } from '#base/entry-codec.ts';
import { codeOf } from '#base/errors.ts';
import { HASH_BYTES } from '#base/hash.ts';
import { ACCOUNT_RING, CONTAINER_RING } from '#base/names.ts';
import type { Device, Entry, EntryKey } from '#device/contract.ts';
import type { Env } from '#env/env.ts';
import type { ClusterSource } from '#ring/cluster.ts';
import { foreignRanges } from '#ring/own-partitions.ts';
import type { Ring, RingDevice } from '#ring/ring.ts';
import { isMember } from '#ring/ring-check.ts';
import type { Caller } from '#wire/contract.ts';
import type { Job, StepResult } from '#worker/job.ts';
import type { EntryAddress, StatArgs, StatReply, Target, WriteArgs } from './calls.ts';
import { type Debt, DebtCount } from './debt.ts';
import { bucketHash } from './exchange.ts';
import type { Devices } from './guard.ts';
import { isBodiless } from './incoming.ts';
import { versionKey } from './version.ts';

/** What a primary has of an entry. */
interface Given {
  readonly primary: RingDevice;
  /** versionKey() of its state. */
  readonly version: string;
  /** It counts, and has the body where it should. */
  readonly isSafe: boolean;
}

const PAGE = 256;
const AT_ONCE = 16;
const IDLE_MS = 10_000;
const RETRY_MS = 5_000;
const DEADLINE_MS = 10_000;
/** An entry this young is probably being written to its primaries right now. */
const MIN_AGE_MICROS = 10_000_000;
const FIRST_HASH = Buffer.alloc(HASH_BYTES);

interface Cleared {
  readonly device: Device;
  readonly ring: Ring;
  readonly changes: number;
  /** In monotonic time. */
  readonly atMs: number;
}

export class Handover implements Job {
  readonly name = 'object.handover';
  readonly #env: Env;
  readonly #caller: Caller;
  readonly #cluster: ClusterSource;
  readonly #devices: Devices;
  readonly #self: { readonly node: string };
  /** Where to go on, by device and ring. */
  readonly #cursors = new Map<string, Buffer>();
  readonly #debt = new DebtCount();
  /** When a device was last found to hold nothing of others, and as of which of its digests. */
  readonly #cleared = new Map<string, Cleared>();
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
    this.#caller = caller;
    this.#cluster = cluster;
    this.#devices = devices;
    this.#self = self;
  }

  facts(): Record<string, number> {
    return { held: this.#held, dropped: this.#dropped };
  }

  /** When the device was last found to hold nothing of others in this ring, in monotonic time. */
  clearedAtMs(device: number, ring: Ring): number | undefined {
    return this.#cleared.get(passOf({ id: device }, ring))?.atMs;
  }

  /** What this node's stand-ins hold for other sites. */
  debt(): Map<string, Debt> {
    return this.#debt.bySite();
  }

  async step(signal: AbortSignal): Promise<StepResult> {
    let found = 0;
    let dropped = 0;
    for (const device of this.#devices().values()) {
      if (device.status !== 'ok' || !isMember(this.#cluster.current(), device.id)) continue;
      for (const ring of this.#cluster.current().rings.values()) {
        if (ring.policy === CONTAINER_RING || ring.policy === ACCOUNT_RING) continue;
        const startMs = this.#env.clock.monotonicMs();
        if (this.#isStillClear(device, ring, startMs)) continue;
        const entries = this.#foreign(device, ring);
        if (entries.length === 0) this.#clear(device, ring, startMs);
        found += entries.length;
        for (let i = 0; i < entries.length && !signal.aborted; i += AT_ONCE) {
          const some = entries.slice(i, i + AT_ONCE);
          const done = await Promise.all(some.map((entry) => this.#handOver(device, ring, entry)));
          dropped += done.filter(Boolean).length;
        }
      }
    }
    this.#held = found - dropped;
    this.#dropped += dropped;
    if (dropped > 0) return { kind: 'more' };
    return { kind: 'idle', waitMs: found > 0 ? RETRY_MS : IDLE_MS };
  }

  #clear(device: Device, ring: Ring, atMs: number): void {
    const { changes } = device.digests;
    this.#cleared.set(passOf(device, ring), { device, ring, changes, atMs });
  }

  /** Nothing has changed since it was: no look at thousands of gaps. */
  #isStillClear(device: Device, ring: Ring, nowMs: number): boolean {
    const last = this.#cleared.get(passOf(device, ring));
    const isSame = last?.device === device && last.ring === ring;
    if (!isSame || last.changes !== device.digests.changes) return false;
    this.#cleared.set(passOf(device, ring), { ...last, atMs: nowMs });
    return true;
  }

  /** The next page of entries outside the device's own partitions; after the last, the first again. */
  #foreign(device: Device, ring: Ring): Entry[] {
    const cursor = passOf(device, ring);
    const start = this.#cursors.get(cursor);
    const page = this.#page(device, ring, start ?? FIRST_HASH);
    if (page.length === 0) this.#debt.ended(cursor);
    const entries =
      page.length === 0 && start !== undefined ? this.#page(device, ring, FIRST_HASH) : page;
    const last = entries.at(-1);
    if (last === undefined) this.#cursors.delete(cursor);
    else this.#cursors.set(cursor, after(last.key.hash));
    return entries;
  }

  #page(device: Device, ring: Ring, start: Buffer): Entry[] {
    for (const range of foreignRanges(ring, device.id)) {
      const [from, to] = [bucketHash(range.from)!, bucketHash(range.to) ?? undefined];
      if (to !== undefined && Buffer.compare(to, start) <= 0) continue;
      const [sum] = device.digests.summarise(ring.policy, range.from, range.to, 1);
      if (sum!.total === 0) continue;
      const begin = Buffer.compare(from, start) > 0 ? from : start;
      const entries = device.entries(ring.policy, begin, to, PAGE);
      if (entries.length > 0) return entries;
    }
    return [];
  }

  /** True: every primary has it, and it was dropped here. */
  async #handOver(device: Device, ring: Ring, entry: Entry): Promise<boolean> {
    if (this.#isYoung(entry)) return false;
    if (isBodiless(entry)) return this.#dropEmpty(device, ring, entry);
    const { primaries, former = [] } = ring.placement(ring.partitionOf(entry.key.hash));
    try {
      // While joint, of both sets: either may be the one that counts in the end.
      const answers = await Promise.allSettled(
        [primaries, former].flatMap((set) =>
          set.map((primary, i) => this.#give(device, ring, entry, primary, i < ring.copies)),
        ),
      );
      const sites = [...primaries, ...former].flatMap(({ site }, i) => {
        const answer = answers[i]!;
        return answer.status === 'fulfilled' && answer.value.isSafe ? [] : [site];
      });
      const bytes = entry.state.data?.body?.length ?? 0;
      for (const site of new Set(sites)) this.#debt.add(passOf(device, ring), site, bytes);
      const given = answers.map(settled);
      const own = versionKey(entry.state);
      if (!given.every(({ isSafe }) => isSafe)) return false;
      if (given.every(({ version }) => version === own)) return await device.forget(entry);
      await this.#catchUp(device, ring, entry, given);
    } catch (error) {
      const facts = { device: device.id, path: entry.path, error: codeOf(error) };
      this.#env.log.debug('object.handover-failed', facts);
    }
    return false;
  }

  /** Its body is lost: there is nothing to give, and no primary takes the state alone (incoming.ts). */
  async #dropEmpty(device: Device, ring: Ring, entry: Entry): Promise<boolean> {
    const { primaries, former = [] } = ring.placement(ring.partitionOf(entry.key.hash));
    try {
      const known = await Promise.all(
        [...primaries, ...former].map((primary) =>
          this.#look(primary, addressOf(ring, primary, entry.key), entry, false),
        ),
      );
      return known.every(({ isSafe }) => isSafe) && (await device.forget(entry));
    } catch (error) {
      const facts = { device: device.id, path: entry.path, error: codeOf(error) };
      this.#env.log.debug('object.handover-failed', facts);
      return false;
    }
  }

  /**
   * All primaries know one newer version, bodies and all: then what is here is out of date, and joins
   * it, so that the next round can drop it by the same comparison as anything else.
   */
  async #catchUp(
    device: Device,
    ring: Ring,
    { key, path }: Entry,
    given: readonly Given[],
  ): Promise<void> {
    const [first, ...others] = given;
    if (first === undefined || others.some(({ version }) => version !== first.version)) return;
    const { primary } = first;
    const args: StatArgs = { ...addressOf(ring, primary, key) };
    const { state } = (await this.#call(primary, 'object.stat', args)) as StatReply;
    if (state === null) return;
    const known = decodeState(Buffer.from(state));
    await device.write({ key, path, state: known, unlisted: false, intent: 'join' });
  }

  /** One from a clock far ahead of ours is not young for hours: too early is only some work for nothing. */
  #isYoung(entry: Entry): boolean {
    const micros = entry.state.data === undefined ? 0 : entry.state.data.clientMicros;
    return Math.abs(this.#env.clock.wallMicros() - micros) < MIN_AGE_MICROS;
  }

  /** What this primary has, after having been given what it lacked. */
  async #give(
    device: Device,
    ring: Ring,
    entry: Entry,
    primary: RingDevice,
    keepsBody: boolean,
  ): Promise<Given> {
    const address = addressOf(ring, primary, entry.key);
    const before = await this.#look(primary, address, entry, keepsBody);
    if (before.isSafe && before.version === versionKey(entry.state)) return before;
    const sources: Target[] = entry.hasBody ? [{ device: device.id, node: this.#self.node }] : [];
    const args: WriteArgs = {
      ...address,
      path: entry.path,
      state: encodeState(entry.state),
      intent: 'join',
      unlisted: entry.unlisted,
      ...(keepsBody && sources.length > 0 && { sources }),
      from: device.id,
    };
    await this.#call(primary, 'object.write', args);
    return this.#look(primary, address, entry, keepsBody);
  }

  async #look(
    primary: RingDevice,
    address: EntryAddress,
    entry: Entry,
    keepsBody: boolean,
  ): Promise<Given> {
    const args: StatArgs = { ...address, brief: true };
    const { version, complete, hasBody } = (await this.#call(
      primary,
      'object.stat',
      args,
    )) as StatReply;
    const isOther = version !== versionKey(entry.state);
    // Of another version it is not known here whether it wants a body: only one that is there is safe.
    const needsBody = isOther || bodyLength(entry.state) > 0;
    return { primary, version, isSafe: complete && (hasBody || !keepsBody || !needsBody) };
  }

  async #call(primary: RingDevice, method: string, args: unknown): Promise<unknown> {
    const options = { txn: 'handover', deadlineMs: DEADLINE_MS, lane: 'bulk' as const };
    return (await this.#caller.call(primary.node, method, args, options)).result;
  }
}

function passOf({ id }: Pick<Device, 'id'>, { policy }: Ring): string {
  return `${id}/${policy}`;
}

function settled(answer: PromiseSettledResult<Given>): Given {
  if (answer.status === 'rejected') throw answer.reason;
  return answer.value;
}

function addressOf(ring: Ring, { id }: RingDevice, { policy, hash }: EntryKey): EntryAddress {
  return { device: id, policy, hash, ringVersion: ring.version };
}

/** The next hash: the cursor goes past what was seen, also when that could not be dropped. */
function after(hash: Buffer): Buffer {
  const next = Buffer.from(hash);
  for (let i = HASH_BYTES - 1; i >= 0; i--) {
    next[i] = (next[i]! + 1) & 0xff;
    if (next[i] !== 0) break;
  }
  return next;
}
