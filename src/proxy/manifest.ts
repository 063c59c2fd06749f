/**
 * Opens what a manifest stands for; the form is described in manifest-format.ts. A part that changed
 * or went away breaks the download off (`manifest-part`); versions are never mixed.
 */
import { hash } from 'node:crypto';
import type { EntryState, ManifestKind } from '#base/entry.ts';
import { OperatingError } from '#base/errors.ts';
import type { ObjectName } from '#base/names.ts';
import type { ObjectReader, Operation } from './contract.ts';
import { dynamicParts } from './dynamic-parts.ts';
import { type ManifestPart, manifestLength, readManifest } from './manifest-format.ts';
import { type ManifestOptions, type ManifestStore, PartSequence } from './part-sequence.ts';

export * from './manifest-format.ts';
export type { ManifestOptions, ManifestStore } from './part-sequence.ts';

/** The object that a manifest stands for. */
export interface ManifestReader {
  readonly kind: ManifestKind;
  readonly length: number;
  /** Unquoted, as shown to clients (they see it in quotes for manifests). */
  readonly etag: string;
  readonly parts: readonly ManifestPart[];
  /**
   * Bytes [start, end) across the parts; the next part is opened while one is sent.
   * @throws OperatingError `manifest-part` {path, reason: missing | changed | forbidden | too-deep}
   */
  read(start: number, end: number): AsyncIterable<Buffer>;
}

/** Undefined: an ordinary object. */
export function manifestKind(state: EntryState): ManifestKind | undefined {
  if (state.data?.manifest !== undefined) return state.data.manifest;
  return dynamicTarget(state) === undefined ? undefined : 'dynamic';
}

/** `container/prefix` of a dynamic manifest, as the X-Object-Manifest header gave it. */
export function dynamicTarget(state: EntryState): string | undefined {
  const target = state.groups['system']?.values['x-object-manifest'];
  return target === undefined || target === '' ? undefined : target;
}

/**
 * Opens what `reader`, the manifest object itself, stands for.
 * @throws OperatingError `malformed` (not a manifest after all), `manifest-part`
 */
export async function openManifest(
  store: ManifestStore,
  operation: Operation,
  name: ObjectName,
  reader: ObjectReader,
  options: ManifestOptions = {},
): Promise<ManifestReader> {
  const kind = manifestKind(reader.state);
  if (kind === undefined) throw new OperatingError('malformed', 'not a manifest');
  const parts =
    kind === 'dynamic'
      ? await dynamicParts(store, operation, name, dynamicTarget(reader.state) ?? '')
      : (await readManifest(reader)).parts;
  const sequence = new PartSequence(store, operation, parts, options, 1);
  return {
    kind,
    length: manifestLength(parts),
    etag: kind === 'dynamic' ? etagOfEtags(parts) : (reader.state.data?.etag ?? ''),
    parts,
    read: (start, end) => sequence.read(start, end),
  };
}

/** Swift's etag of a large object: the MD5 of its parts' etags, one after another. */
function etagOfEtags(parts: readonly ManifestPart[]): string {
  return hash('md5', parts.map((part) => part.etag).join(''), 'hex');
}
