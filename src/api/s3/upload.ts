/** What the operations on an upload share: finding it, and what its checksums must be. */

import type { PartSlot } from '#proxy/multipart/attempts.ts';
import { isUploadId } from '#proxy/multipart/names.ts';
import type { Upload } from '#proxy/multipart/uploads.ts';
import { Uploads } from '#proxy/multipart/uploads.ts';
import type { Bucket } from './bucket.ts';
import { type Algorithm, algorithmOf, unknownAlgorithm } from './checksums.ts';
import { isCombinable } from './crc-combine.ts';
import { refuse, type S3Error } from './errors.ts';
import type { S3Request } from './request.ts';
import type { ChecksumType } from './stored-checksums.ts';

export function uploadsOf(request: S3Request): Uploads {
  const { store, env } = request.service;
  return new Uploads(store, env);
}

/** @throws S3Error NoSuchUpload */
export async function findUpload(request: S3Request, bucket: Bucket): Promise<Upload> {
  const uploadId = uploadIdOf(request);
  const upload = await uploadsOf(request).find(request, bucket, request.key, uploadId);
  if (upload === undefined) throw noSuchUpload(uploadId);
  return upload;
}

/** Both are looked for at once. @throws S3Error NoSuchUpload */
export async function findSlot(
  request: S3Request,
  bucket: Bucket,
  number: number,
): Promise<{ upload: Upload; slot: PartSlot }> {
  const uploadId = uploadIdOf(request);
  const [upload, slot] = await Promise.all([
    findUpload(request, bucket),
    uploadsOf(request).slot(request, { bucket, uploadId }, number),
  ]);
  return { upload, slot };
}

export function uploadIdOf(request: S3Request): string {
  const uploadId = request.query.get('uploadId') ?? '';
  if (!isUploadId(uploadId)) throw noSuchUpload(uploadId);
  return uploadId;
}

export function noSuchUpload(uploadId: string): S3Error {
  return refuse('NoSuchUpload', undefined, { UploadId: uploadId });
}

/** @throws S3Error InvalidArgument */
export function partNumberOf(request: S3Request): number {
  const text = request.query.get('partNumber') ?? '';
  const most = request.service.limits.maxParts;
  const number = /^\d{1,6}$/.test(text) ? Number(text) : 0;
  if (number >= 1 && number <= most) return number;
  throw refuse(
    'InvalidArgument',
    `Part number must be an integer between 1 and ${most}, inclusive`,
    {
      ArgumentName: 'partNumber',
      ArgumentValue: text,
    },
  );
}

export interface UploadChecksum {
  readonly algorithm: Algorithm;
  readonly type: ChecksumType;
  /** The client named the algorithm. */
  readonly asked: boolean;
}

/** What CreateMultipartUpload asks for. @throws S3Error InvalidRequest */
export function checksumOfUpload(request: S3Request): UploadChecksum {
  const name = request.header('x-amz-checksum-algorithm');
  const wanted = request.header('x-amz-checksum-type')?.toUpperCase();
  if (wanted !== undefined && wanted !== 'FULL_OBJECT' && wanted !== 'COMPOSITE') {
    throw refuse('InvalidRequest', 'Value for x-amz-checksum-type header is invalid.');
  }
  if (name === undefined) {
    if (wanted === undefined) return { algorithm: 'crc64nvme', type: 'FULL_OBJECT', asked: false };
    throw refuse(
      'InvalidRequest',
      'The x-amz-checksum-type header can only be used with the x-amz-checksum-algorithm header.',
    );
  }
  const algorithm = algorithmOf(name);
  if (algorithm === undefined) {
    throw unknownAlgorithm();
  }
  const type = wanted ?? (algorithm === 'crc64nvme' ? 'FULL_OBJECT' : 'COMPOSITE');
  const impossible = type === 'FULL_OBJECT' ? !isCombinable(algorithm) : algorithm === 'crc64nvme';
  if (!impossible) return { algorithm, type, asked: true };
  throw refuse(
    'InvalidRequest',
    `The ${type} checksum type cannot be used with the ${name.toLowerCase()} checksum algorithm.`,
  );
}

/** As the upload's record tells it. */
export function checksumOf({ record }: Upload): UploadChecksum {
  const algorithm = algorithmOf(record.algorithm);
  if (algorithm === undefined) throw refuse('InternalError');
  return { algorithm, type: record.checksumType, asked: record.asked };
}

/**
 * What the client sends with a part must be what the upload was begun with. Where it named nothing then,
 * any will do, as boto3 sends a CRC32 with parts of such uploads: it is checked and kept beside ours.
 *
 * @throws S3Error InvalidRequest
 */
export function checkPartAlgorithm(
  { algorithm, type, asked }: UploadChecksum,
  given: Algorithm | undefined,
): void {
  if (!asked || given === algorithm) return;
  if (given === undefined && type === 'FULL_OBJECT') return;
  throw refuse(
    'InvalidRequest',
    `Checksum Type mismatch occurred, expected checksum Type: ${algorithm}, actual checksum Type: ${given ?? 'null'}`,
  );
}
