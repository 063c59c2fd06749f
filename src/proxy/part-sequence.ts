/**
 * Bytes across the parts of a manifest, one after another, with the next part's open under way while
 * one is sent: a part costs a quorum read, and a download would otherwise stop at every seam.
 */
import { OperatingError } from '#base/errors.ts';
import type { ObjectName } from '#base/names.ts';
import type { ObjectReader, Operation, Store } from './contract.ts';
import {
  MAX_MANIFEST_DEPTH,
  type ManifestPart,
  manifestLength,
  parsePath,
  partLength,
  readManifest,
} from './manifest-format.ts';

export interface ManifestOptions {
  /** Whether the reader may read this part; parts live in other containers with ACLs of their own. */
  readonly mayRead?: (name: ObjectName) => Promise<boolean>;
}

export type ManifestStore = Pick<Store, 'openObject' | 'listObjects'>;

/** A piece of the answer: bytes [start, end) of one part. */
interface Slice {
  readonly part: ManifestPart;
  readonly start: number;
  readonly end: number;
}

export class PartSequence {
  readonly #store: ManifestStore;
  readonly #operation: Operation;
  readonly #parts: readonly ManifestPart[];
  readonly #options: ManifestOptions;
  readonly #depth: number;

  constructor(
    store: ManifestStore,
    operation: Operation,
    parts: readonly ManifestPart[],
    options: ManifestOptions,
    depth: number,
  ) {
    this.#store = store;
    this.#operation = operation;
    this.#parts = parts;
    this.#options = options;
    this.#depth = depth;
  }

  async *read(start: number, end: number): AsyncGenerator<Buffer> {
    const slices = slicesOf(this.#parts, start, end);
    let next = this.#open(slices[0]);
    for (let i = 0; i < slices.length; i++) {
      const slice = slices[i]!;
      const reader = await next;
      next = this.#open(slices[i + 1]);
      if (reader === undefined) yield ownBytes(slice);
      else yield* this.#content(slice, reader);
    }
  }

  /**
   * Starts to open a part; a failure is reported when its turn comes, not before. Undefined: there
   * is nothing to open, the part's bytes stand in the manifest.
   */
  #open(slice: Slice | undefined): Promise<ObjectReader | undefined> {
    if (slice === undefined || slice.part.data !== undefined) return Promise.resolve(undefined);
    const opened = this.#openPart(slice.part);
    opened.catch(() => undefined);
    return opened;
  }

  async #openPart(part: ManifestPart): Promise<ObjectReader> {
    const name = parsePath(part.path);
    if (name === undefined) throw partError(part, 'missing');
    if (this.#options.mayRead !== undefined && !(await this.#options.mayRead(name))) {
      throw partError(part, 'forbidden');
    }
    const reader = await this.#store.openObject(this.#operation, name);
    if (reader === undefined) throw partError(part, 'missing');
    const { data } = reader.state;
    if (data === undefined || data.etag !== part.etag || data.size !== part.size) {
      throw partError(part, 'changed');
    }
    return reader;
  }

  async *#content(slice: Slice, reader: ObjectReader): AsyncGenerator<Buffer> {
    const { start, end } = slice;
    if (isNested(reader)) {
      if (this.#depth >= MAX_MANIFEST_DEPTH) throw partError(slice.part, 'too-deep');
      const { parts } = await readManifest(reader);
      if (manifestLength(parts) !== slice.part.size) throw partError(slice.part, 'changed');
      const inner = new PartSequence(
        this.#store,
        this.#operation,
        parts,
        this.#options,
        this.#depth + 1,
      );
      yield* inner.read(start, end);
    } else if (reader.inline !== undefined) {
      yield reader.inline.subarray(start, end);
    } else {
      yield* reader.read(start, end);
    }
  }
}

function ownBytes({ part, start, end }: Slice): Buffer {
  return Buffer.from(part.data ?? '', 'base64').subarray(start, end);
}

/** A part that is a static manifest stands for its content, whatever listed it. */
function isNested(reader: ObjectReader): boolean {
  const kind = reader.state.data?.manifest;
  return kind === 'static' || kind === 'multipart';
}

function slicesOf(parts: readonly ManifestPart[], start: number, end: number): Slice[] {
  const slices: Slice[] = [];
  let position = 0;
  for (const part of parts) {
    const length = partLength(part);
    const from = Math.max(start, position);
    const to = Math.min(end, position + length);
    const base = (part.range?.[0] ?? 0) - position;
    if (from < to) slices.push({ part, start: base + from, end: base + to });
    position += length;
  }
  return slices;
}

function partError(
  part: ManifestPart,
  reason: 'missing' | 'changed' | 'forbidden' | 'too-deep',
): OperatingError {
  return new OperatingError('manifest-part', `a part of the manifest is ${reason}`, {
    path: part.path,
    reason,
  });
}
