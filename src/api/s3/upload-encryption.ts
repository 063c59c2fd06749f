/** How the parts of an upload are encrypted: as it was begun, every one of them. */
import {
  checkCustomerKey,
  customerFacts,
  type EncryptionFacts,
  type WantedEncryption,
} from '#proxy/encryption/encryption.ts';
import type { Upload } from '#proxy/multipart/uploads.ts';
import type { Bucket } from './bucket.ts';
import { customerKeyOf, encryptionIn, refuseMethods } from './encryption-headers.ts';
import { refuse } from './errors.ts';
import type { S3Request } from './request.ts';

/** Of an upload that is begun. @throws S3Error */
export function encryptionOfUpload(
  request: S3Request,
  bucket: Bucket,
): EncryptionFacts | undefined {
  const wanted = encryptionIn(request, bucket);
  if (wanted?.kind !== 'customer') return wanted;
  return customerFacts(request.service.env.random, wanted.key);
}

export function factsOfUpload({ record }: Upload): EncryptionFacts | undefined {
  return record.encryption;
}

/** @throws S3Error InvalidRequest: not as the upload was begun */
export function encryptionOfPart(request: S3Request, upload: Upload): WantedEncryption | undefined {
  refuseMethods(request);
  const facts = factsOfUpload(upload);
  const key = customerKeyOf(request);
  if (facts?.kind !== 'customer') {
    if (key === undefined) return facts;
    throw refuse(
      'InvalidRequest',
      'The multipart upload initiate did not request encryption. Please resend the request without encryption parameters.',
    );
  }
  if (key === undefined) {
    throw refuse(
      'InvalidRequest',
      'The multipart upload initiate requested encryption. Subsequent part requests must include the appropriate encryption parameters.',
    );
  }
  checkSame(facts, key);
  return { kind: 'customer', key };
}

/** Completing needs no key; one that comes must be the upload's. @throws S3Error InvalidRequest */
export function checkUploadKey(request: S3Request, upload: Upload): void {
  const key = customerKeyOf(request);
  if (key !== undefined) checkSame(factsOfUpload(upload), key);
}

function checkSame(facts: EncryptionFacts | undefined, key: Uint8Array): void {
  try {
    checkCustomerKey(facts, key);
  } catch {
    throw refuse(
      'InvalidRequest',
      'The provided encryption parameters did not match the ones used originally.',
    );
  }
}
