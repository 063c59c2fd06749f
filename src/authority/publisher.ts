/**
 * The authority's side of the bundle, as far as it exists: the current one is in the state store and
 * every authority process serves it. Building and rolling out rings is `anello ring`'s work offline.
 *
 * Keys of the state store:
 *   cluster/bundle/current        version number, decimal
 *   cluster/bundle/<version>/<n>  pieces of the bundle (a value is limited, rings are not)
 */
import { OperatingError } from '#base/errors.ts';
import { MAX_VALUE_BYTES, type Operation, type State } from '#state/state.ts';

const CURRENT = 'cluster/bundle/current';
const PIECE_BYTES = MAX_VALUE_BYTES / 2;

/** Publishes version `version`; the one before it must be in force. @throws OperatingError `version-taken` */
export async function publishBundle(state: State, version: number, bytes: Buffer): Promise<void> {
  const pieces: Operation[] = [];
  for (let at = 0, n = 0; at < bytes.length; at += PIECE_BYTES, n += 1) {
    pieces.push({
      kind: 'put',
      key: pieceKey(version, n),
      value: bytes.subarray(at, at + PIECE_BYTES),
    });
  }
  for (const piece of pieces) await state.txn({ success: [piece] });
  const before = await state.get(CURRENT);
  const current = before === undefined ? 0 : Number(before.value.toString());
  const done =
    current === version - 1 &&
    (
      await state.txn({
        compare: [{ key: CURRENT, modRevision: before?.modRevision ?? 0 }],
        success: [{ kind: 'put', key: CURRENT, value: Buffer.from(`${version}`) }],
      })
    ).succeeded;
  if (!done)
    throw new OperatingError('version-taken', 'another bundle was published meanwhile', {
      current,
    });
}

/** Version of the bundle in force; 0: none was published yet. */
export async function publishedVersion(state: State): Promise<number> {
  const current = await state.get(CURRENT);
  return current === undefined ? 0 : Number(current.value.toString());
}

/** The bundle in force if it is above `have`. */
export async function readBundle(state: State, have: number): Promise<Buffer | undefined> {
  const version = await publishedVersion(state);
  if (version <= have) return undefined;
  const { items } = await state.range({ prefix: `cluster/bundle/${pad(version)}/` });
  return Buffer.concat(items.map((item) => item.value));
}

function pieceKey(version: number, n: number): string {
  return `cluster/bundle/${pad(version)}/${pad(n)}`;
}

function pad(n: number): string {
  return String(n).padStart(10, '0');
}
