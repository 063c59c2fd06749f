/**
 * Objects against their rows: sends the row of every entry again, once in a cycle, with the object's own
 * state. A listing that misses an object, or shows an old version or one that was deleted, is mended by
 * that; where the row is there already nothing is written, for a row joins as its object does. So the
 * sending is the check.
 *
 * Entries that are young, or not listed yet, are the writer's and the updater's. The other direction,
 * rows whose object is gone, is the container's (src/container/listing-auditor.ts).
 */
import { newestTimestamp } from '#base/entry.ts';
import { HASH_BYTES } from '#base/hash.ts';
import { ACCOUNT_RING, CONTAINER_RING } from '#base/names.ts';
import { microsOf } from '#base/timestamp.ts';
import type { Device, Entry } from '#device/contract.ts';
import type { Env } from '#env/env.ts';
import type { ClusterSource } from '#ring/cluster.ts';
import type { Job, StepResult } from '#worker/job.ts';
import { Pacer } from '#worker/pacer.ts';
import type { Devices } from './guard.ts';
import type { Relister } from './relister.ts';
import type { Retirer } from './retirer.ts';

const NOTE = 'object.listings';
const PAGE = 100;
/** Far above any write deadline. */
const SETTLED_MICROS = 600_000_000;
const FIRST = Buffer.alloc(HASH_BYTES);

export class ObjectListingAuditor implements Job {
  readonly name = 'object.listings';
  readonly pacer: Pacer;
  readonly #env: Env;
  readonly #cluster: ClusterSource;
  readonly #devices: Devices;
  readonly #relister: Relister;
  readonly #retirer: Retirer;
  #sent = 0;
  #failed = 0;
  /** Of containers that have left the policy. */
  #retired = 0;

  constructor(
    env: Env,
    cluster: ClusterSource,
    devices: Devices,
    relister: Relister,
    retirer: Retirer,
  ) {
    this.#env = env;
    this.#cluster = cluster;
    this.#devices = devices;
    this.#relister = relister;
    this.#retirer = retirer;
    this.pacer = new Pacer(env.clock, { itemsPerStep: PAGE });
  }

  facts(): Record<string, number> {
    return { sent: this.#sent, failed: this.#failed, retired: this.#retired };
  }

  async step(signal: AbortSignal): Promise<StepResult> {
    for (const device of this.#devices().values()) {
      if (signal.aborted || device.status !== 'ok' || !this.pacer.isDue(device.id)) continue;
      const isDone = await this.#step(device);
      this.pacer.stepped(device.id, device.facts().entries, isDone);
    }
    return this.pacer.result([...this.#devices().keys()]);
  }

  /** True: the cycle is over. */
  async #step(device: Device): Promise<boolean> {
    const place = placeOf(device.audit.note(NOTE));
    const policies = [...this.#cluster.current().rings.keys()]
      .filter((policy) => policy !== CONTAINER_RING && policy !== ACCOUNT_RING)
      .sort((a, b) => a - b);
    const policy = policies.find((candidate) => candidate >= place.policy);
    if (policy === undefined) {
      device.audit.setNote(NOTE, '');
      return true;
    }
    const start = policy === place.policy ? place.from : FIRST;
    const page = device.entries(policy, start, undefined, PAGE);
    await Promise.all(page.map((entry) => this.#check(device, entry)));
    const last = page.at(-1);
    const next = page.length < PAGE || last === undefined ? undefined : after(last.key.hash);
    device.audit.setNote(NOTE, next ? `${policy} ${next.toString('hex')}` : `${policy + 1}`);
    return false;
  }

  async #check(device: Device, entry: Entry): Promise<void> {
    const { key, state, unlisted } = entry;
    const age = this.#env.clock.wallMicros() - microsOf(newestTimestamp(state));
    if (unlisted || age < SETTLED_MICROS) return;
    if (!device.completeness.isComplete(key.policy, key.hash)) return;
    const outcome = await this.#relister.relist(device, entry, NOTE);
    if (outcome === 'listed') this.#sent++;
    else if (outcome === 'failed') this.#failed++;
    else if (await this.#retirer.retire(device, entry)) this.#retired++;
  }
}

/** The next hash; undefined after the last. */
function after(hash: Buffer): Buffer | undefined {
  const next = Buffer.from(hash);
  for (let i = HASH_BYTES - 1; i >= 0; i--) {
    next[i] = (next[i]! + 1) & 0xff;
    if (next[i] !== 0) return next;
  }
  return undefined;
}

interface Place {
  readonly policy: number;
  readonly from: Buffer;
}

function placeOf(note: string): Place {
  const match = /^(\d+)(?: ([0-9a-f]{32}))?$/.exec(note);
  if (match === null) return { policy: 0, from: FIRST };
  return { policy: Number(match[1]), from: match[2] ? Buffer.from(match[2], 'hex') : FIRST };
}
