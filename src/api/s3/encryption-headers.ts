/**
 * The headers x-amz-server-side-encryption*: what a write asks for, the key that a reader brings, what an
 * answer says. A customer's key (SSE-C) is checked against its MD5 here and goes on in memory only.
 */
import { hash } from 'node:crypto';
import { defaultEncryption } from '#proxy/encryption/default-encryption.ts';
import type { EncryptionFacts, WantedEncryption } from '#proxy/encryption/encryption.ts';
import type { Bucket } from './bucket.ts';
import { refuse, type S3Error } from './errors.ts';
import type { S3Request } from './request.ts';

const SSE = 'x-amz-server-side-encryption';
const KEY_ID = `${SSE}-aws-kms-key-id`;
const BUCKET_KEY = `${SSE}-bucket-key-enabled`;
const CONTEXT = `${SSE}-context`;
const CUSTOMER = `${SSE}-customer-`;
const COPY_SOURCE = 'x-amz-copy-source-server-side-encryption-customer-';
const CUSTOMER_KEY_BYTES = 32;
const MAX_KEY_ID = 2048;
/** What may change where an object is copied onto itself. */
export const ENCRYPTION_CHANGES = [SSE, `${CUSTOMER}algorithm`] as const;

/** Where fields come from: headers, or a form. */
type Get = (name: string) => string | undefined;

function headersOf(request: S3Request): Get {
  return (name) => request.header(name);
}

/** Undefined: nothing is said, so the bucket's default counts. @throws S3Error */
export function wantedEncryption(
  request: S3Request,
  get: Get = headersOf(request),
): WantedEncryption | undefined {
  const key = customerKey(get, CUSTOMER);
  const algorithm = get(SSE);
  if (key !== undefined) {
    if (algorithm === undefined) return { kind: 'customer', key };
    throw refuse(
      'InvalidArgument',
      'Server Side Encryption with Customer provided key is incompatible with the encryption method specified',
      { ArgumentName: SSE, ArgumentValue: algorithm },
    );
  }
  if (algorithm !== 'aws:kms') refuseNamed(get);
  if (algorithm === undefined) return undefined;
  if (algorithm === 'AES256') return { kind: 'store' };
  if (algorithm === 'aws:kms') return namedKey(get);
  if (algorithm === 'aws:kms:dsse') throw refuse('NotImplemented', undefined, { Header: SSE });
  throw refuse('InvalidArgument', 'The encryption method specified is not supported', {
    ArgumentName: SSE,
    ArgumentValue: algorithm,
  });
}

function namedKey(get: Get): WantedEncryption {
  if (get(CONTEXT) !== undefined) throw refuse('NotImplemented', undefined, { Header: CONTEXT });
  const name = get(KEY_ID) ?? '';
  if (name.length > MAX_KEY_ID) throw refuse('KMS.NotFoundException');
  return { kind: 'named', name, bucketKey: get(BUCKET_KEY)?.toLowerCase() === 'true' };
}

function refuseNamed(get: Get): void {
  const named = [KEY_ID, CONTEXT].find((name) => get(name) !== undefined);
  if (named === undefined) return;
  throw refuse(
    'InvalidArgument',
    'Server Side Encryption with AWS KMS managed key requires HTTP header x-amz-server-side-encryption : aws:kms',
    { ArgumentName: named, ArgumentValue: get(named)! },
  );
}

/** As the request says, else as its bucket does. @throws S3Error */
export function encryptionIn(request: S3Request, bucket: Bucket): WantedEncryption | undefined {
  return wantedEncryption(request) ?? defaultEncryption(bucket.info);
}

/** For operations that read the object: from now on the request brings its key. @throws S3Error */
export function readWithKey(request: S3Request): void {
  refuseMethods(request);
  request.customerKey = customerKey(headersOf(request), CUSTOMER);
}

/** Only writes of whole objects choose a method. @throws S3Error */
export function refuseMethods(request: S3Request): void {
  const given = [SSE, KEY_ID, CONTEXT].find((name) => request.header(name) !== undefined);
  if (given === undefined) return;
  throw refuse('InvalidArgument', `${given} header is not supported for this operation.`, {
    ArgumentName: given,
    ArgumentValue: request.header(given)!,
  });
}

/** The key that comes with a part. @throws S3Error */
export function customerKeyOf(request: S3Request): Uint8Array | undefined {
  return customerKey(headersOf(request), CUSTOMER);
}

/** The key that opens the source of a copy. @throws S3Error */
export function sourceKeyOf(request: S3Request): Uint8Array | undefined {
  return customerKey(headersOf(request), COPY_SOURCE);
}

function customerKey(get: Get, prefix: string): Uint8Array | undefined {
  const [algorithm, key, md5] = ['algorithm', 'key', 'key-md5'].map((name) => get(prefix + name));
  if (algorithm === undefined && key === undefined && md5 === undefined) return undefined;
  if (algorithm === undefined) {
    throw wrongKey(
      `${prefix}algorithm`,
      'Requests specifying Server Side Encryption with Customer provided keys must provide a valid encryption algorithm.',
    );
  }
  if (algorithm !== 'AES256') {
    throw refuse('InvalidEncryptionAlgorithmError', undefined, {
      ArgumentName: `${prefix}algorithm`,
      ArgumentValue: algorithm,
    });
  }
  const bytes = key === undefined ? undefined : decoded(key);
  if (key === undefined || key === '') {
    throw wrongKey(
      `${prefix}key`,
      'Requests specifying Server Side Encryption with Customer provided keys must provide an appropriate secret key.',
    );
  }
  if (md5 === undefined || md5 === '') {
    throw wrongKey(
      `${prefix}key-MD5`,
      'Requests specifying Server Side Encryption with Customer provided keys must provide the client calculated MD5 of the secret key.',
    );
  }
  if (bytes?.length !== CUSTOMER_KEY_BYTES) {
    throw wrongKey(`${prefix}key`, 'The secret key was invalid for the specified algorithm.');
  }
  if (hash('md5', bytes, 'base64') !== md5) {
    throw wrongKey(
      `${prefix}key-MD5`,
      'The calculated MD5 hash of the key did not match the hash that was provided.',
    );
  }
  return bytes;
}

function decoded(text: string): Buffer | undefined {
  const bytes = Buffer.from(text, 'base64');
  return bytes.toString('base64') === text ? bytes : undefined;
}

/** The value is a secret, or about one: it is not repeated. */
function wrongKey(name: string, message: string): S3Error {
  return refuse('InvalidArgument', message, { ArgumentName: name, ArgumentValue: 'null' });
}

/** How the object is kept, for any answer about it. */
export function encryptionHeaders(
  request: S3Request,
  facts: EncryptionFacts | undefined,
  get: Get = headersOf(request),
): string[] {
  switch (facts?.kind) {
    case undefined:
      return [];
    case 'store':
      return [SSE, 'AES256'];
    case 'named':
      return [
        ...[SSE, 'aws:kms'],
        ...(facts.name === '' ? [] : [KEY_ID, facts.name]),
        ...(facts.bucketKey ? [BUCKET_KEY, 'true'] : []),
      ];
    case 'customer': {
      const md5 = get(`${CUSTOMER}key-md5`);
      const shown = md5 === undefined ? [] : [`${CUSTOMER}key-MD5`, md5];
      return [`${CUSTOMER}algorithm`, 'AES256', ...shown];
    }
  }
}
