/**
 * The listing row of an object: the part of its state that listings, digests of rows and totals need.
 * It is a pure function of the object's state, so that every replica sends the same row, and rows
 * join as objects do.
 */
import type { DataPart, EntryState, Group } from '#base/entry.ts';
import type { ContainerName } from '#base/names.ts';

/** Values of the system group that a listing shows or obeys. */
const LISTED_VALUES = ['content-type', 'delete-at'] as const;

export function rowState(state: EntryState): EntryState {
  const system = state.groups['system'];
  const groups: Record<string, Group> = system === undefined ? {} : { system: listedGroup(system) };
  return state.data === undefined ? { groups } : { data: listedData(state.data), groups };
}

function listedData(data: DataPart): DataPart {
  const { body: _body, checksums: _checksums, replicas: _replicas, owner: _owner, ...row } = data;
  return row;
}

function listedGroup(group: Group): Group {
  const values: Record<string, string> = {};
  for (const name of LISTED_VALUES) {
    const value = group.values[name];
    if (value !== undefined) values[name] = value;
  }
  return { timestamp: group.timestamp, values };
}

/** The container and the name within it; undefined where the path is not an object's. */
export function splitPath(path: string): (ContainerName & { readonly object: string }) | undefined {
  const second = path.indexOf('/', 1);
  const third = second < 0 ? -1 : path.indexOf('/', second + 1);
  if (path[0] !== '/' || second <= 1 || third <= second + 1 || third === path.length - 1) {
    return undefined;
  }
  return {
    account: path.slice(1, second),
    container: path.slice(second + 1, third),
    object: path.slice(third + 1),
  };
}
