/**
 * Objects against their rows: sends the row of every entry again, once in a cycle, with the object's own
 * state. A listing that misses an object, or shows an old version or one that was deleted, is mended by
 * that; where the row is there already nothing is written, for a row joins as its object does. So the
 * sending is the check.
 *
 * Entries that are young, or not listed yet, are the writer's and the updater's. The other direction,
 * rows whose object is gone, is the container's (src/container/listing-auditor.ts).
 *
 * What is left of a container in a policy that it has left is dropped on the way. A round in which nothing
 * stayed in doubt proves that the device has nothing of what was left before the round began: only then may
 * a container come back (proxy/policy-move/README.md).
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
import { parseAudited } from './args.ts';
import type { AuditedReply } from './calls.ts';
import type { Devices, Guard } from './guard.ts';
import type { Relister } from './relister.ts';
import type { Retirer } from './retirer.ts';

const NOTE = 'object.listings';
/** When the round began (Unix ms), as long as nothing in it was in doubt. */
const ROUND_NOTE = 'object.listings.round';
/** When the last such round began that is over. */
const CLEAN_NOTE = 'object.listings.clean';
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
  readonly #guard: Guard;
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
    guard: Guard,
    relister: Relister,
    retirer: Retirer,
  ) {
    this.#env = env;
    this.#cluster = cluster;
    this.#devices = devices;
    this.#guard = guard;
    this.#relister = relister;
    this.#retirer = retirer;
    this.pacer = new Pacer(env.clock, { itemsPerStep: PAGE });
  }

  facts(): Record<string, number> {
    return { sent: this.#sent, failed: this.#failed, retired: this.#retired };
  }

  async step(signal: AbortSignal): Promise<StepResult> {
    const devices = [...this.#devices().values()].filter(({ status }) => status === 'ok');
    for (const device of devices) {
      if (signal.aborted || device.status !== 'ok' || !this.pacer.isDue(device.id)) continue;
      const isDone = await this.#step(device);
      this.pacer.stepped(device.id, device.facts().entries, isDone);
    }
    return this.pacer.result(devices.map(({ id }) => id));
  }

  /** object.audited */
  readonly audited = (args: unknown): { result: AuditedReply } => {
    const device = this.#guard.deviceById(parseAudited(args).device);
    return { result: { sinceMs: Number(device.audit.note(CLEAN_NOTE)) } };
  };

  /** True: the cycle is over. */
  async #step(device: Device): Promise<boolean> {
    const { audit } = device;
    const note = this.pacer.restarts(device.id) ? '' : audit.note(NOTE);
    if (note === '') audit.setNote(ROUND_NOTE, String(this.#env.clock.wallMicros() / 1_000));
    const place = placeOf(note);
    const policies = [...this.#cluster.current().rings.keys()]
      .filter((policy) => policy !== CONTAINER_RING && policy !== ACCOUNT_RING)
      .sort((a, b) => a - b);
    const policy = policies.find((candidate) => candidate >= place.policy);
    if (policy === undefined) {
      const beganMs = audit.note(ROUND_NOTE);
      if (beganMs !== '') audit.setNote(CLEAN_NOTE, beganMs);
      audit.setNote(NOTE, '');
      return true;
    }
    const start = policy === place.policy ? place.from : FIRST;
    const page = device.entries(policy, start, undefined, PAGE);
    const checked = await Promise.all(page.map((entry) => this.#check(device, entry)));
    if (!checked.every(Boolean)) audit.setNote(ROUND_NOTE, '');
    const last = page.at(-1);
    const next = page.length < PAGE || last === undefined ? undefined : after(last.key.hash);
    audit.setNote(NOTE, next ? `${policy} ${next.toString('hex')}` : `${policy + 1}`);
    return false;
  }

  /** False: it may be of a container that has left the policy. What is young can't be, see `audited`. */
  async #check(device: Device, entry: Entry): Promise<boolean> {
    const { key, state, unlisted } = entry;
    const age = this.#env.clock.wallMicros() - microsOf(newestTimestamp(state));
    if (age < SETTLED_MICROS) return true;
    if (unlisted || !device.completeness.isComplete(key.policy, key.hash)) return false;
    const outcome = await this.#relister.relist(device, entry, NOTE);
    if (outcome === 'listed') this.#sent++;
    else if (outcome === 'failed') this.#failed++;
    if (outcome !== 'elsewhere') return outcome === 'listed';
    const isRetired = await this.#retirer.retire(device, entry);
    if (isRetired) this.#retired++;
    return isRetired;
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
