/**
 * Checksums of the parts that a finished object is made of, out of the rows of its parts: one listing, of
 * which only those who ask for them pay.
 */
import type { ContainerName } from '#base/names.ts';
import { bucketOfParts, isPartsAccount, uploadOfPart } from '#proxy/multipart/names.ts';
import { headerOf } from './checksums.ts';
import type { Content } from './content.ts';
import { checksumHeaders, dataOf } from './object-headers.ts';
import type { WantedPart } from './part-number.ts';
import type { S3Request } from './request.ts';
import { shownChecksums } from './stored-checksums.ts';
import { uploadsOf } from './upload.ts';

type ByAlgorithm = Readonly<Record<string, string>>;

/** By part, in their order; nothing of parts that are no upload's (Swift's segments). */
export async function checksumsOfParts(
  request: S3Request,
  { parts = [] }: Content,
): Promise<readonly ByAlgorithm[]> {
  const places = parts.map(({ path }) => placeOf(path));
  const upload = places.find((place) => place !== undefined);
  if (upload === undefined) return parts.map(() => ({}));
  const stored = await uploadsOf(request).parts(request, upload);
  const byName = new Map(stored.map(({ object, checksums }) => [object, checksums]));
  return places.map((place) => (place && byName.get(place.object)) ?? {});
}

/** Headers about one part, for who asks for checksums. */
export async function partChecksumHeaders(
  request: S3Request,
  content: Content,
  { number }: WantedPart,
): Promise<string[]> {
  const ofWhole = checksumHeaders(request, content.state);
  if (ofWhole.length === 0 || content.parts === undefined) return ofWhole;
  const { values, type } = shownChecksums(dataOf(content.state));
  const own = (await checksumsOfParts(request, content))[number - 1] ?? {};
  const headers = values.flatMap(([algorithm]) => {
    const value = own[algorithm];
    return value === undefined ? [] : [headerOf(algorithm), value];
  });
  return headers.length === 0 ? [] : [...headers, 'x-amz-checksum-type', type];
}

/** `/ACCOUNT/CONTAINER/p/UPLOAD/...` of the store's own account. */
function placeOf(
  path: string,
): { bucket: ContainerName; uploadId: string; object: string } | undefined {
  const [, account = '', container = '', ...rest] = path.split('/');
  const object = rest.join('/');
  const uploadId = uploadOfPart(object);
  const bucket = isPartsAccount(account) ? bucketOfParts(container) : undefined;
  return bucket === undefined || uploadId === undefined ? undefined : { bucket, uploadId, object };
}
