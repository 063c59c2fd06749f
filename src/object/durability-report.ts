/**
 * What the durability meter says, and how objects are counted: each once, against its own target.
 *
 *   full          as many good copies as its policy wants, or more
 *   missing1      one short
 *   missing2      two or more short, at least one good copy left
 *   unreachable   no good copy on a device that answers, but copies may be on silent ones
 *   lost          no good copy anywhere
 */
export interface ObjectCounts {
  total: number;
  full: number;
  missing1: number;
  missing2: number;
  lost: number;
  unreachable: number;
}

export interface PolicyCounts extends ObjectCounts {
  /** Objects by how many good copies they have, and by at how many sites. */
  readonly copies: Record<string, number>;
  readonly sites: Record<string, number>;
}

export interface SiteCounts {
  /** Good copies at this site. */
  copies: number;
  /** Copies that should be here and are not, or are not good, or are on a silent device. */
  missing: number;
  /** Share of what this site's devices hold that an auditor has read within its cycle. */
  verified: number;
}

/** `anello status --durability --json`. Times are ISO 8601 in UTC. */
export interface DurabilityReport {
  readonly objects: ObjectCounts;
  readonly byPolicy: Readonly<Record<string, PolicyCounts>>;
  readonly bySite: Readonly<Record<string, SiteCounts>>;
  /** Entries on devices that are no primary of them. */
  readonly handoffs: number;
  /** The digests that it was counted from are of this moment. */
  readonly asOf: string;
  /** Everything on the devices that answer was read since then; null: not yet. */
  readonly verifiedSince: string | null;
  /** By the rate of the last minute; null: nothing is missing, or nothing moves. */
  readonly repairDoneAt: string | null;
}

/** Where copies of some objects are. */
export interface Copies {
  /** Sites of the good ones, a site as often as it has copies. */
  readonly good: readonly string[];
  /** Sites of the devices that should have one and have no good one. */
  readonly missing: readonly string[];
  /** Silent devices that may have one. */
  readonly silent: number;
}

export class DurabilityCount {
  readonly objects: ObjectCounts = emptyCounts();
  readonly byPolicy: Record<string, PolicyCounts> = {};
  readonly bySite: Record<string, SiteCounts> = {};
  handoffs = 0;
  /** Copies that must be made. */
  short = 0;

  policy(name: string): PolicyCounts {
    return (this.byPolicy[name] ??= { ...emptyCounts(), copies: {}, sites: {} });
  }

  site(name: string): SiteCounts {
    return (this.bySite[name] ??= { copies: 0, missing: 0, verified: 1 });
  }

  /** So many objects whose copies are alike. */
  add(policy: string, target: number, objects: number, copies: Copies): void {
    if (objects === 0) return;
    const { good, missing, silent } = copies;
    const kind = kindOf(good.length, target, silent);
    const own = this.policy(policy);
    for (const counts of [this.objects, own]) {
      counts.total += objects;
      counts[kind] += objects;
    }
    raise(own.copies, good.length, objects);
    raise(own.sites, new Set(good).size, objects);
    for (const site of good) this.site(site).copies += objects;
    for (const site of missing) this.site(site).missing += objects;
    if (kind !== 'lost') this.short += objects * Math.max(0, target - good.length);
  }
}

function emptyCounts(): ObjectCounts {
  return { total: 0, full: 0, missing1: 0, missing2: 0, lost: 0, unreachable: 0 };
}

function kindOf(
  good: number,
  target: number,
  silent: number,
): Exclude<keyof ObjectCounts, 'total'> {
  if (good >= target) return 'full';
  if (good > 0) return target - good === 1 ? 'missing1' : 'missing2';
  return silent > 0 ? 'unreachable' : 'lost';
}

function raise(counts: Record<string, number>, key: number, by: number): void {
  counts[key] = (counts[key] ?? 0) + by;
}
