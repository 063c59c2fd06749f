/**
 * A short text that is equal for equal states: the timestamps (each names one write), kind and write
 * id. A quorum read compares these, so that only one replica sends its state in full.
 */
import { type EntryState, KINDS } from '#base/entry.ts';

export function versionKey(state: EntryState): string {
  const { data, groups } = state;
  let key =
    data === undefined
      ? '-'
      : `${data.timestamp}${data.kind}${data.expiredSource ?? ''}.${data.writeId}`;
  for (const name of Object.keys(groups).sort()) key += `;${name}:${groups[name]!.timestamp}`;
  return key;
}

interface ParsedVersion {
  readonly data: string;
  readonly groups: ReadonlyMap<string, string>;
}

const TIMESTAMP_TEXT = 20;
const GROUP = /^(.*):([0-9a-f]+)$/;

/** The version of the join of states, of which only the versions are known. */
export function newestVersion(versions: readonly string[]): string {
  const parsed = versions.map(parseVersion);
  const data = parsed.map((version) => version.data).reduce(newerData);
  const floor = data === '-' ? '' : data.slice(0, TIMESTAMP_TEXT);
  const groups = new Map<string, string>();
  for (const version of parsed) {
    for (const [name, timestamp] of version.groups) {
      if (timestamp >= floor && timestamp > (groups.get(name) ?? '')) groups.set(name, timestamp);
    }
  }
  const names = [...groups.keys()].sort();
  return data + names.map((name) => `;${name}:${groups.get(name)}`).join('');
}

/** As isFreed() says it of the state. */
export function isFreedVersion(version: string): boolean {
  const { data, groups } = parseVersion(version);
  if (!data.startsWith('expired', TIMESTAMP_TEXT)) return false;
  const [source = ''] = data.slice(TIMESTAMP_TEXT + 'expired'.length).split('.');
  return (groups.get('system') ?? '') <= source;
}

/** Whether two versions are of one write, whatever was posted since. */
export function isSameData(a: string, b: string): boolean {
  return parseVersion(a).data === parseVersion(b).data;
}

function parseVersion(version: string): ParsedVersion {
  const [data = '-', ...rest] = version.split(';');
  const groups = new Map<string, string>();
  for (const text of rest) {
    const match = GROUP.exec(text);
    if (match !== null) groups.set(match[1]!, match[2]!);
  }
  return { data, groups };
}

/** As joinData() orders them: timestamp, then kind. */
function newerData(a: string, b: string): string {
  if (a === '-' || b === '-') return a === '-' ? b : a;
  const [timeA, timeB] = [a.slice(0, TIMESTAMP_TEXT), b.slice(0, TIMESTAMP_TEXT)];
  if (timeA !== timeB) return timeA > timeB ? a : b;
  const [rankA, rankB] = [rankOf(a), rankOf(b)];
  if (rankA !== rankB) return rankA > rankB ? a : b;
  return a >= b ? a : b;
}

function rankOf(data: string): number {
  return KINDS.findIndex((kind) => data.startsWith(kind, TIMESTAMP_TEXT));
}
