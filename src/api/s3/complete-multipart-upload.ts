/**
 * CompleteMultipartUpload. What the client names is compared with what is stored, part by part; the
 * same request again gets the same answer as long as the object is the one it made.
 */
import { createHash } from 'node:crypto';
import type { StoredPart } from '#proxy/multipart/attempts.ts';
import { authorize } from './access.ts';
import { type Bucket, noSuchBucket } from './bucket.ts';
import { ALGORITHMS, elementOf, headerOf, isChecksum } from './checksums.ts';
import { unquote, writeCondition } from './conditions.ts';
import { combine } from './crc-combine.ts';
import { encryptionHeaders } from './encryption-headers.ts';
import { refuse } from './errors.ts';
import { replyWhenDone } from './heartbeat.ts';
import { expirationHeader } from './lifecycle.ts';
import { readDocument } from './payload.ts';
import type { S3Request } from './request.ts';
import { shownChecksums } from './stored-checksums.ts';
import { checksumOf, noSuchUpload, type UploadChecksum, uploadIdOf, uploadsOf } from './upload.ts';
import { checkUploadKey, factsOfUpload } from './upload-encryption.ts';
import { versionHeaders } from './version-headers.ts';
import { document, leaf } from './xml.ts';
import { children, onlyChildren, readXml, requiredText, textOf } from './xml-reader.ts';

interface NamedPart {
  readonly number: number;
  readonly etag: string;
  /** By algorithm. */
  readonly checksums: Readonly<Record<string, string>>;
}

export async function completeMultipartUpload(request: S3Request): Promise<void> {
  const bucket = await authorize(request, 's3:PutObject');
  const condition = writeCondition(request);
  const uploadId = uploadIdOf(request);
  const named = await namedParts(request);
  const uploads = uploadsOf(request);
  const upload = await uploads.find(request, bucket, request.key, uploadId);
  if (upload === undefined) {
    const xml = await repeatXml(request, bucket, uploadId);
    return await replyWhenDone(request, async () => ({ xml }));
  }
  checkUploadKey(request, upload);
  const checksum = checksumOf(upload);
  const parts = matchParts(request, await uploads.attempts(request, upload), named, checksum);
  const etag = etagOf(parts);
  const checksums = await wholeChecksum(request, checksum, parts);
  checkStatedSize(request, parts);
  await replyWhenDone(request, async () => {
    const whole = { parts, etag, checksums, ...(condition !== undefined && { condition }) };
    const result = await uploads.complete(request, upload, whole);
    if (result.kind === 'over') return { xml: await repeatXml(request, bucket, uploadId) };
    if (result.kind === 'no-container') throw noSuchBucket(request.bucket);
    if (result.kind === 'precondition-failed') throw condition!.failure();
    const { tags } = upload.record.groups;
    return {
      xml: resultXml(request, { etag: result.etag, checksums }),
      headers: [
        ...versionHeaders(result.versionId),
        ...expirationHeader(request, bucket, { ...result, tags }),
        ...encryptionHeaders(request, factsOfUpload(upload)),
      ],
    };
  });
}

/** The upload is not under way: perhaps because this very request was answered before. */
async function repeatXml(request: S3Request, bucket: Bucket, uploadId: string): Promise<string> {
  const uploads = uploadsOf(request);
  const record = await uploads.completion(request, bucket, uploadId);
  if (record === undefined || record.key !== request.key) throw noSuchUpload(uploadId);
  if (!(await uploads.isUsed(request, { bucket, uploadId, record }))) throw noSuchUpload(uploadId);
  return resultXml(request, record);
}

function resultXml(
  request: S3Request,
  { etag, checksums }: { etag: string; checksums: Readonly<Record<string, string>> },
): string {
  const { values, type } = shownChecksums({ checksums });
  return document(
    'CompleteMultipartUploadResult',
    leaf('Location', request.address + request.path) +
      leaf('Bucket', request.bucket) +
      leaf('Key', request.key) +
      leaf('ETag', `"${etag}"`) +
      values.map(([algorithm, value]) => leaf(elementOf(algorithm), value)).join('') +
      leaf('ChecksumType', values.length === 0 ? undefined : type),
  );
}

/** @throws S3Error MalformedXML, InvalidRequest, InvalidPartOrder */
async function namedParts(request: S3Request): Promise<NamedPart[]> {
  const { maxListDocumentBytes, maxParts } = request.service.limits;
  // Checksum headers are about the object, not about this document.
  const root = readXml(
    await readDocument(request, maxListDocumentBytes, { ofObject: true }),
    'CompleteMultipartUpload',
  );
  const parts = children(root, 'Part').map((part): NamedPart => {
    onlyChildren(part, ['PartNumber', 'ETag', ...ALGORITHMS.map(elementOf)]);
    const number = requiredText(part, 'PartNumber').trim();
    if (!/^-?\d{1,6}$/.test(number)) throw refuse('MalformedXML');
    if (Number(number) < 1) throw refuse('InvalidArgument', 'PartNumber must be >= 1');
    const checksums = ALGORITHMS.flatMap((algorithm) => {
      const value = textOf(part, elementOf(algorithm));
      return value === undefined ? [] : [[algorithm, value.trim()] as const];
    });
    return {
      number: Number(number),
      etag: unquote(requiredText(part, 'ETag')).toLowerCase(),
      checksums: Object.fromEntries(checksums),
    };
  });
  if (parts.length === 0) throw refuse('MalformedXML');
  if (parts.length > maxParts) throw refuse('InvalidRequest', 'Too many parts.');
  for (const [i, part] of parts.entries()) {
    if (i > 0 && part.number <= parts[i - 1]!.number) throw refuse('InvalidPartOrder');
  }
  return parts;
}

/** @throws S3Error InvalidPart, InvalidRequest, EntityTooSmall */
function matchParts(
  request: S3Request,
  stored: readonly StoredPart[],
  named: readonly NamedPart[],
  checksum: UploadChecksum,
): StoredPart[] {
  // Of those that were sent at the same time the newest with this ETag.
  const byName = new Map(stored.toReversed().map((part) => [nameOf(part), part]));
  const { minPartBytes } = request.service.limits;
  return named.map((part, i) => {
    const found = byName.get(nameOf(part));
    if (found === undefined) throw invalidPart(request, part);
    checkPart(request, found, part, checksum);
    if (found.size < minPartBytes && i < named.length - 1) {
      throw refuse('EntityTooSmall', undefined, {
        ProposedSize: String(found.size),
        MinSizeAllowed: String(minPartBytes),
        PartNumber: String(part.number),
        ETag: part.etag,
      });
    }
    return found;
  });
}

function nameOf({ number, etag }: Pick<StoredPart, 'number' | 'etag'>): string {
  return `${number}/${etag}`;
}

function checkPart(
  request: S3Request,
  found: StoredPart,
  named: NamedPart,
  { algorithm, type, asked }: UploadChecksum,
): void {
  const value = named.checksums[algorithm];
  const stated = Object.entries(named.checksums);
  if (stated.some(([name, text]) => text !== found.checksums[name])) {
    throw invalidPart(request, named);
  }
  if (value === undefined && asked && type === 'COMPOSITE') {
    throw refuse(
      'InvalidRequest',
      `The upload was created using a ${algorithm} checksum. The complete request must include the checksum for each part. It was missing for part ${named.number} in the request.`,
    );
  }
}

function invalidPart(request: S3Request, part: NamedPart) {
  return refuse('InvalidPart', undefined, {
    UploadId: request.query.get('uploadId') ?? '',
    PartNumber: String(part.number),
    ETag: part.etag,
  });
}

/** The MD5 of the parts' MD5s, and their number: by it everybody can tell that it is no MD5. */
function etagOf(parts: readonly StoredPart[]): string {
  const digest = createHash('md5');
  for (const part of parts) digest.update(part.etag, 'hex');
  return `${digest.digest('hex')}-${parts.length}`;
}

/** @throws S3Error BadDigest, InvalidRequest when the request states another one */
async function wholeChecksum(
  request: S3Request,
  { algorithm, type, asked }: UploadChecksum,
  parts: readonly StoredPart[],
): Promise<Record<string, string>> {
  const values = parts.map(({ checksums, size }) => ({
    value: checksums[algorithm] ?? '',
    length: size,
  }));
  const joined = Buffer.concat(values.map(({ value }) => Buffer.from(value, 'base64')));
  const computed =
    type === 'FULL_OBJECT'
      ? combine(algorithm, values)
      : `${await request.service.checksums.of(algorithm, joined)}-${parts.length}`;
  const statedType = request.header('x-amz-checksum-type');
  if (statedType !== undefined && statedType.toUpperCase() !== type && asked) {
    throw refuse(
      'InvalidRequest',
      `The upload was created using the ${type} checksum mode. The complete request must use the same checksum mode.`,
    );
  }
  for (const known of ALGORITHMS) {
    const stated = request.header(headerOf(known));
    if (stated === undefined) continue;
    const bare = type === 'COMPOSITE' ? stated.replace(/-\d+$/, '') : stated;
    if (!isChecksum(known, bare)) {
      throw refuse('InvalidRequest', `Value for ${headerOf(known)} header is invalid.`);
    }
    const same =
      type === 'COMPOSITE' ? computed.replace(/-\d+$/, '') === bare : computed === stated;
    if (known !== algorithm || !same) {
      throw refuse(
        'BadDigest',
        `The ${known.toUpperCase()} you specified did not match the calculated checksum.`,
      );
    }
  }
  return { [algorithm]: computed };
}

function checkStatedSize(request: S3Request, parts: readonly StoredPart[]): void {
  const size = parts.reduce((sum, part) => sum + part.size, 0);
  const { maxObjectBytes } = request.service.limits;
  if (size > maxObjectBytes) {
    const fields = { ProposedSize: String(size), MaxSizeAllowed: String(maxObjectBytes) };
    throw refuse('EntityTooLarge', undefined, fields);
  }
  const stated = request.header('x-amz-mp-object-size');
  if (stated === undefined) return;
  if (!/^\d{1,16}$/.test(stated)) {
    throw refuse('InvalidRequest', 'Value for x-amz-mp-object-size header is invalid.');
  }
  if (Number(stated) === size) return;
  throw refuse(
    'InvalidRequest',
    `The provided 'x-amz-mp-object-size' header value ${stated} does not match what was computed: ${size}`,
  );
}
