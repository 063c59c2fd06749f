/** What answers say of versions. */

const VERSION_HEADER = 'x-amz-version-id';
const MARKER_HEADER = 'x-amz-delete-marker';

/** Of an answer; nothing where the bucket has never kept versions. */
export function versionHeaders(id: string | undefined): string[] {
  return id === undefined ? [] : [VERSION_HEADER, id];
}

/** Of DELETE's answer. */
export function removalHeaders(removal: { versionId?: string; deleteMarker?: boolean }): string[] {
  const marker = removal.deleteMarker ? [MARKER_HEADER, 'true'] : [];
  return [...marker, ...versionHeaders(removal.versionId)];
}
