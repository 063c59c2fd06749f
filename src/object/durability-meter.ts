/**
 * The durability meter: at any moment, how many objects have how many good copies, from digests.
 *
 * It is computed on the storage node that is asked, not by a job on a chosen one: there is nobody to
 * elect, any node that answers can tell, and nothing runs while nobody asks. What makes it cheap is that
 * a measurement first asks each device for one sum per ring: when none has changed, nor who answers,
 * the last count is still exact, and only its moment is new.
 */
import { ACCOUNT_RING, CONTAINER_RING } from '#base/names.ts';
import type { Env } from '#env/env.ts';
import type { ClusterSource, ClusterView } from '#ring/cluster.ts';
import type { Ring } from '#ring/ring.ts';
import type { Caller } from '#wire/contract.ts';
import { DurabilityCount, type DurabilityReport } from './durability-report.ts';
import { BUCKETS } from './exchange.ts';
import { HoldingsReader } from './holdings-reader.ts';
import { RingDurability } from './ring-durability.ts';

/** Two write deadlines: what is younger may still be on its way. */
const SETTLED_MICROS = 20_000_000;
const ALL = [{ from: 0, to: BUCKETS }];
/** Measurements by which the end of a repair is told. */
const HISTORY_MS = 60_000;

interface Measured {
  readonly signature: string;
  readonly count: DurabilityCount;
  readonly verifiedSinceMs: number | null;
  readonly young: number;
}

export class DurabilityMeter {
  readonly #env: Env;
  readonly #caller: Caller;
  readonly #cluster: ClusterSource;
  /** Live entries of each partition when somebody last answered for it, by ring and first bucket. */
  readonly #remembered = new Map<number, Map<number, number>>();
  #last: Measured | undefined;
  #report: { readonly value: DurabilityReport; readonly atMs: number } | undefined;
  #running: Promise<DurabilityReport> | undefined;
  /** Copies that were missing, at wall milliseconds. */
  #history: { readonly atMs: number; readonly short: number }[] = [];
  /** How often it was counted anew, and how often nothing had changed. */
  counted = 0;
  reused = 0;

  constructor(env: Env, caller: Caller, cluster: ClusterSource) {
    this.#env = env;
    this.#caller = caller;
    this.#cluster = cluster;
  }

  /** The last report, without asking anybody. */
  get last(): DurabilityReport | undefined {
    return this.#report?.value;
  }

  /** One that is at most so old. Whoever asks while it is measured gets the same. */
  report(maxAgeMs = 0): Promise<DurabilityReport> {
    const known = this.#report;
    const fresh = known !== undefined && this.#nowMs() - known.atMs <= maxAgeMs;
    if (fresh && this.#running === undefined) return Promise.resolve(known.value);
    this.#running ??= this.#measure().finally(() => {
      this.#running = undefined;
    });
    return this.#running;
  }

  async #measure(): Promise<DurabilityReport> {
    const atMs = this.#nowMs();
    const view = this.#cluster.current();
    const reader = new HoldingsReader(this.#env, this.#caller);
    await reader.begin(view);
    const signature = await this.#signature(view, reader);
    const last = this.#last;
    if (last !== undefined && last.signature === signature && isLasting(last)) this.reused++;
    else this.#last = await this.#count(view, reader, signature);
    const value = this.#describe(this.#last!, reader, atMs);
    this.#report = { value, atMs };
    return value;
  }

  /** One text that is equal when every device holds what it held. */
  async #signature(view: ClusterView, reader: HoldingsReader): Promise<string> {
    const rings = objectRings(view);
    const parts = [...reader.reports.keys()].map(async (device) => {
      const sums = await Promise.all(rings.map((ring) => reader.digests(device, ring.policy, ALL)));
      const text = sums.map((sum) => {
        const [digest] = sum ?? [];
        return digest && `${Buffer.from(digest[0]).toString('hex')} ${digest.slice(1).join(' ')}`;
      });
      return `${device} ${reader.reports.get(device)?.incarnation} ${text.join(' ')}`;
    });
    return [view.version, ...(await Promise.all(parts)).sort()].join('\n');
  }

  async #count(view: ClusterView, reader: HoldingsReader, signature: string): Promise<Measured> {
    this.counted++;
    const count = new DurabilityCount();
    let young = 0;
    const notAfterMicros = this.#env.clock.wallMicros() - SETTLED_MICROS;
    for (const ring of objectRings(view)) {
      const policy = view.policies.find(({ index }) => index === ring.policy);
      if (policy === undefined) continue;
      const remembered = this.#remembered.get(ring.policy) ?? new Map<number, number>();
      this.#remembered.set(ring.policy, remembered);
      const parts = { reader, count, ring, policy, notAfterMicros, remembered };
      const durability = new RingDurability(parts);
      await durability.run();
      young += durability.young;
    }
    return { signature, count, verifiedSinceMs: verifiedSince(reader), young };
  }

  #describe({ count }: Measured, reader: HoldingsReader, atMs: number): DurabilityReport {
    for (const [name, site] of Object.entries(count.bySite)) {
      site.verified = verifiedShare(reader, this.#cluster.current(), name);
    }
    const verifiedSinceMs = verifiedSince(reader);
    const { objects, byPolicy, bySite, handoffs, short } = count;
    const doneMs = this.#doneMs(atMs, short);
    return {
      objects,
      byPolicy,
      bySite,
      handoffs,
      asOf: new Date(atMs).toISOString(),
      verifiedSince: verifiedSinceMs === null ? null : new Date(verifiedSinceMs).toISOString(),
      repairDoneAt: doneMs === undefined ? null : new Date(doneMs).toISOString(),
    };
  }

  /** When nothing will be missing, at the rate since the most was missing in the last minute. */
  #doneMs(atMs: number, short: number): number | undefined {
    this.#history = this.#history.filter((one) => atMs - one.atMs < HISTORY_MS);
    this.#history.push({ atMs, short });
    const most = this.#history.reduce((a, b) => (b.short >= a.short ? b : a));
    const mended = most.short - short;
    if (short === 0 || mended <= 0) return undefined;
    return Math.ceil(atMs + (short * (atMs - most.atMs)) / mended);
  }

  #nowMs(): number {
    return Math.floor(this.#env.clock.wallMicros() / 1000);
  }
}

function objectRings(view: ClusterView): Ring[] {
  return [...view.rings.values()].filter(
    ({ policy }) => policy !== CONTAINER_RING && policy !== ACCOUNT_RING,
  );
}

/** Young ones grow up without any digest changing, and bodies are no part of it: one may come as another goes. */
function isLasting({ young, count: { objects } }: Measured): boolean {
  return young === 0 && objects.full === objects.total;
}

/** The begin of the oldest complete cycle of all devices that answer; null where one has none. */
function verifiedSince(reader: HoldingsReader): number | null {
  const since = [...reader.reports.values()].map(({ audit }) => audit.verifiedSinceMs);
  if (since.length === 0 || since.some((ms) => ms === undefined || ms === null)) return null;
  return Math.min(...since.map(Number));
}

/** Of the bytes that a site's devices hold: a device's last cycle counts whole, else as far as it is. */
function verifiedShare(reader: HoldingsReader, view: ClusterView, site: string): number {
  let total = 0;
  let read = 0;
  for (const ring of objectRings(view)) {
    for (const device of ring.devices) {
      if (device === undefined || device.site !== site) continue;
      const audit = reader.reports.get(device.id)?.audit;
      if (audit === undefined) continue;
      total += audit.totalBytes;
      read += audit.totalBytes * ((audit.cycles ?? 0) > 0 ? 1 : audit.share);
    }
  }
  return total === 0 ? 1 : Math.floor((10_000 * read) / total) / 10_000;
}
