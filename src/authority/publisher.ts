/**
 * Bundles in the state store, from where every authority process serves them.
 *
 *   cluster/bundle/current        `<version> <upload> <pieces>` of the one in force
 *   cluster/bundle/<upload>/<n>   its bytes (pieces.ts); the last few versions are kept
 *
 * The first clusters wrote the version alone and pieces below `cluster/bundle/<version>/`.
 */
import type { Random } from '#env/env.ts';
import type { Compare, KeyValue, Operation, State } from '#state/state.ts';
import { dropPiecesBelow, pad, readPieces, uploadName, writePieces } from './pieces.ts';

const PREFIX = 'cluster/bundle/';
const CURRENT = `${PREFIX}current`;
export const BUNDLES = { prefix: PREFIX, current: CURRENT } as const;
const KEPT_VERSIONS = 8;

export interface Published {
  readonly version: number;
  readonly upload: string;
  /** Undefined for those of the first clusters. */
  readonly pieces: number | undefined;
  readonly modRevision: number;
}

const NONE: Published = { version: 0, upload: '', pieces: 0, modRevision: 0 };

/** What is in force, by the item under `BUNDLES.current`. */
export function publishedOf(item: KeyValue | undefined): Published {
  if (item === undefined) return NONE;
  const [version = '', upload, pieces] = item.value.toString().split(' ');
  return {
    version: Number(version),
    upload: upload ?? pad(Number(version)),
    pieces: pieces === undefined ? undefined : Number(pieces),
    modRevision: item.modRevision,
  };
}

export async function published(state: State): Promise<Published> {
  return publishedOf(await state.get(CURRENT));
}

/** The value that puts these bytes, uploaded before, in force under a (higher) number. */
export function currentValue(version: number, { upload, pieces }: Published): Buffer {
  return Buffer.from([version, upload, ...(pieces === undefined ? [] : [pieces])].join(' '));
}

/** The bundle in force if it is above `have`. */
export async function readBundle(state: State, have: number): Promise<Buffer | undefined> {
  const { version, upload, pieces } = await published(state);
  if (version <= have) return undefined;
  if (pieces !== undefined) return readPieces(state, PREFIX + upload, pieces);
  const { items } = await state.range({ prefix: `${PREFIX}${upload}/` });
  return Buffer.concat(items.map((item) => item.value));
}

/** Writes the bytes of the next version; the transaction that holds these parts publishes them. */
export async function stageBundle(
  state: State,
  random: Random,
  before: Published,
  bytes: Buffer,
): Promise<{ readonly compare: Compare; readonly success: Operation }> {
  const version = before.version + 1;
  const upload = uploadName(version, random);
  const pieces = await writePieces(state, PREFIX + upload, bytes);
  const value = Buffer.from(`${version} ${upload} ${pieces}`);
  return {
    compare: { key: CURRENT, modRevision: before.modRevision },
    success: { kind: 'put', key: CURRENT, value },
  };
}

export async function dropOldBundles(state: State, version: number): Promise<void> {
  const oldest = version - KEPT_VERSIONS;
  if (oldest > 0) await dropPiecesBelow(state, PREFIX, oldest);
}
