/** The rows of a container, or of an account, as one replica has them. */
import type { EntryState } from '#base/entry.ts';
import { decodeState } from '#base/entry-codec.ts';
import type { PolicyIndex } from '#base/names.ts';
import { versionKey } from '#object/version.ts';
import { isTombstone } from '#rows/columns.ts';

/** By name; '' is the container's own. */
export type ReplicaRows = ReadonlyMap<string, EntryState>;

const MOST = 500;
const NO_DIGEST = Buffer.alloc(16);

interface Page {
  readonly rows: readonly { readonly name: string; readonly state: Buffer }[];
}

export interface RowsAddress {
  readonly device: number;
  readonly ringVersion: number;
  readonly hash: Buffer;
  readonly path: string;
}

/** `call`: `container.pull` or `account.pull`, to the replica's node. */
export async function replicaRows(
  call: (args: object) => Promise<unknown>,
  address: RowsAddress,
): Promise<ReplicaRows> {
  const args = { ...address, incarnation: null, since: 0, limit: MOST, digest: NO_DIGEST };
  const { rows } = (await call(args)) as Page;
  return new Map(rows.map(({ name, state }) => [name, decodeState(Buffer.from(state))]));
}

/** What some replicas have and others have not is deletions only, which those may have reclaimed. */
export function differByReclaim(ring: PolicyIndex, replicas: readonly ReplicaRows[]): boolean {
  const names = new Set(replicas.flatMap((rows) => [...rows.keys()]));
  return [...names].every((name) => {
    const states = replicas.flatMap((rows) => rows.get(name) ?? []);
    const versions = new Set(states.map(versionKey));
    const isEverywhere = states.length === replicas.length;
    return versions.size === 1 && (isEverywhere || isTombstone(ring, name, states[0]!));
  });
}
