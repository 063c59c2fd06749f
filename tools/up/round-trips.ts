/** `--rtt`: how long a round trip between two sites is made to take, so that a WAN is felt on one machine. */
import { OperatingError } from '#base/errors.ts';

export interface RoundTrips {
  readonly ms: number;
  /** To and from these sites; between two of them the longer one. */
  readonly ofSites: ReadonlyMap<string, number>;
}

const MAX_MS = 10_000;

/** `20ms` for all, `bari=200ms` for one site. @throws OperatingError `wrong-use` */
export function parseRoundTrips(texts: readonly string[]): RoundTrips {
  const ofSites = new Map<string, number>();
  let ms = 0;
  for (const text of texts) {
    const [time, site] = text.split('=').reverse();
    if (site === undefined) ms = parseTime(time!, text);
    else ofSites.set(site, parseTime(time!, text));
  }
  return { ms, ofSites };
}

/** @throws OperatingError `wrong-use` for a site that is not there */
export function checkSites({ ofSites }: RoundTrips, sites: readonly string[]): void {
  for (const site of ofSites.keys())
    if (!sites.includes(site))
      throw new OperatingError('wrong-use', `--rtt ${site}=...: the sites are ${sites.join(', ')}`);
}

/** What the file of a node at `site` says of it. */
export function roundTripsOf({ ms, ofSites }: RoundTrips, site: string) {
  const own = ofSites.get(site);
  const others = [...ofSites].filter(([other]) => other !== site);
  return {
    rttMs: own ?? ms,
    siteRttMs: Object.fromEntries(others.map(([other, to]) => [other, Math.max(to, own ?? 0)])),
  };
}

function parseTime(time: string, text: string): number {
  const match = /^(\d+(?:\.\d+)?)(ms|s)?$/.exec(time);
  const ms = match === null ? Number.NaN : Number(match[1]) * (match[2] === 's' ? 1000 : 1);
  if (ms >= 0 && ms <= MAX_MS) return ms;
  throw new OperatingError('wrong-use', `--rtt ${text}: a time such as 20ms, at most 10s`);
}
