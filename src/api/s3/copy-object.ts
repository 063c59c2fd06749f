/**
 * CopyObject: read as a GET would read it and stored as a new object, checksums and all; a large object
 * becomes a plain one. What the source's own metadata gives and what the request says is chosen by the
 * directives.
 */
import { contentTypeOf } from '#base/entry.ts';
import type { MetadataGroups, PutRequest } from '#proxy/contract.ts';
import { showsMd5 } from '#proxy/encryption/encryption.ts';
import { authorizeWrite, objectName } from './access.ts';
import { type Bucket, noSuchBucket } from './bucket.ts';
import {
  type Algorithm,
  algorithmOf,
  DEFAULT_ALGORITHM,
  elementOf,
  type Hasher,
  unknownAlgorithm,
} from './checksums.ts';
import { writeCondition } from './conditions.ts';
import { type CopySource, copiedVersion, openCopySource } from './copy-source.ts';
import { ENCRYPTION_CHANGES, encryptionHeaders, wantedEncryption } from './encryption-headers.ts';
import { refuse } from './errors.ts';
import { replyWhenDone } from './heartbeat.ts';
import { expirationHeader } from './lifecycle.ts';
import { lockGroups } from './lock-headers.ts';
import { dataOf, describedBy, REDIRECT_HEADER } from './object-headers.ts';
import { accessGroups } from './object-ownership.ts';
import type { S3Request } from './request.ts';
import { bytesOf } from './send-content.ts';
import { checkStorageClass } from './storage-class.ts';
import { shownChecksums } from './stored-checksums.ts';
import { tagsOfHeader } from './tags.ts';
import { refuseUnsupported } from './unsupported.ts';
import { versionHeaders } from './version-headers.ts';
import { document, isoDate, leaf } from './xml.ts';

export async function copyObject(request: S3Request): Promise<void> {
  const bucket = await authorizeWrite(request);
  refuseUnsupported(request);
  checkStorageClass(request, bucket);
  const facts = {
    metadata: directive(request, 'metadata'),
    tagging: directive(request, 'tagging'),
  };
  const condition = writeCondition(request);
  const encryption = wantedEncryption(request);
  const source = await openCopySource(request);
  checkSize(request, source);
  checkChange(request, bucket, source, facts.metadata);
  const lock = await lockGroups(request, bucket);
  const algorithm = wantedAlgorithm(request, source);
  const hasher = await request.service.checksums.hasher(algorithm);
  await replyWhenDone(request, async () => {
    const { length } = source.content;
    let checksum = '';
    const put = described(request, bucket, source, { ...facts, lock });
    const result = await request.service.store.putObject(request, objectName(bucket, request.key), {
      ...put,
      body: hashed(bytesOf(source.content, { start: 0, end: length }), hasher),
      length,
      maxLength: length,
      cause: 'Copy',
      finish: () => {
        checksum = hasher.digest();
        return { checksums: { [algorithm]: checksum } };
      },
      ...(condition !== undefined && { condition }),
      ...(encryption !== undefined && { encryption }),
    });
    if (result.kind === 'no-container') throw noSuchBucket(request.bucket);
    if (result.kind === 'precondition-failed') throw condition!.failure();
    const content =
      leaf('LastModified', isoDate(Math.floor(result.clientMicros / 1e6) * 1e6)) +
      leaf('ETag', `"${result.etag}"`) +
      leaf('ChecksumType', 'FULL_OBJECT') +
      leaf(elementOf(algorithm), checksum);
    const headers = [
      ...copiedVersion(source),
      ...versionHeaders(result.versionId),
      ...expirationHeader(request, bucket, { ...result, tags: put.groups?.['tags'] }),
      ...encryptionHeaders(request, result.encryption),
    ];
    return { xml: document('CopyObjectResult', content), headers };
  });
}

/** @throws S3Error InvalidArgument */
function directive(request: S3Request, what: 'metadata' | 'tagging'): 'COPY' | 'REPLACE' {
  const name = `x-amz-${what}-directive`;
  const value = request.header(name) ?? 'COPY';
  if (value === 'COPY' || value === 'REPLACE') return value;
  throw refuse('InvalidArgument', `Unknown ${what} directive.`, {
    ArgumentName: name,
    ArgumentValue: value,
  });
}

function checkSize(request: S3Request, { content }: CopySource): void {
  const most = request.service.limits.maxPutBytes;
  if (content.length <= most) return;
  throw refuse(
    'InvalidRequest',
    `The specified copy source is larger than the maximum allowable size for a copy source: ${most}`,
  );
}

/** A copy onto itself must change something. */
function checkChange(
  request: S3Request,
  bucket: Bucket,
  source: CopySource,
  metadata: 'COPY' | 'REPLACE',
): void {
  const same =
    source.bucket.account === bucket.account &&
    source.bucket.container === bucket.container &&
    source.key === request.key &&
    source.version === undefined;
  const changes = [
    ...['x-amz-storage-class', REDIRECT_HEADER, 'x-amz-checksum-algorithm'],
    ...ENCRYPTION_CHANGES,
  ];
  if (!same || metadata === 'REPLACE' || changes.some((name) => request.header(name))) return;
  throw refuse(
    'InvalidRequest',
    "This copy request is illegal because it is trying to copy an object to itself without changing the object's metadata, storage class, website redirect location or encryption attributes.",
  );
}

/** As asked for, else as the source has it. */
function wantedAlgorithm(request: S3Request, { content }: CopySource): Algorithm {
  const name = request.header('x-amz-checksum-algorithm');
  const wanted = name === undefined ? undefined : algorithmOf(name);
  if (name !== undefined && wanted === undefined) {
    throw unknownAlgorithm();
  }
  return wanted ?? shownChecksums(dataOf(content.state)).values[0]?.[0] ?? DEFAULT_ALGORITHM;
}

interface CopyFacts {
  readonly metadata: 'COPY' | 'REPLACE';
  readonly tagging: 'COPY' | 'REPLACE';
  readonly lock: MetadataGroups;
}

function described(
  request: S3Request,
  bucket: Bucket,
  { content, reader }: CopySource,
  { metadata, tagging, lock }: CopyFacts,
): Omit<PutRequest, 'body' | 'length' | 'maxLength'> {
  const { groups } = reader.state;
  const own = describedBy(request);
  const tags =
    tagging === 'REPLACE' ? tagsOfHeader(request) : { tags: groups['tags']?.values ?? {} };
  const common = { groups: { ...tags, ...accessGroups(request, bucket), ...lock } };
  const plain = content.parts === undefined && showsMd5(reader.state);
  const expected = plain ? { expectedEtag: content.etag } : {};
  if (metadata === 'REPLACE') return { ...own, ...common, ...expected };
  const system: Record<string, string> = { ...groups['system']?.values };
  for (const name of ['content-type', 'delete-at', 'x-object-manifest', REDIRECT_HEADER]) {
    delete system[name];
  }
  const redirect = own.system[REDIRECT_HEADER];
  if (redirect !== undefined) system[REDIRECT_HEADER] = redirect;
  const user = groups['user']?.values ?? {};
  return { contentType: contentTypeOf(reader.state), user, system, ...common, ...expected };
}

/** The same bytes, hashed while they pass. */
export async function* hashed(
  source: AsyncIterable<Uint8Array>,
  hasher: Hasher,
): AsyncGenerator<Uint8Array> {
  for await (const chunk of source) {
    hasher.update(chunk);
    yield chunk;
  }
}
