/**
 * PostObject: an upload by a browser's form. Who signed the policy in it uploads, in the limits that the
 * policy sets; without a policy it is anybody's, where the bucket is open to anybody.
 */

import { ANONYMOUS } from '#auth/caller.ts';
import { sameSignature, sign } from '#auth/sigv4.ts';
import { RequestBody } from '../http/request-body.ts';
import { authorizeWrite, objectName } from './access.ts';
import { noSuchBucket } from './bucket.ts';
import { DEFAULT_ALGORITHM, headerOf, isChecksum } from './checksums.ts';
import { encryptionHeaders, wantedEncryption } from './encryption-headers.ts';
import { refuse } from './errors.ts';
import { type PostedForm, readForm } from './form-data.ts';
import { lockGroups } from './lock-headers.ts';
import { checkRedirect, DEFAULT_CONTENT_TYPE, REDIRECT_HEADER } from './object-headers.ts';
import { accessGroups } from './object-ownership.ts';
import { badChecksum, md5Of, namedChecksum } from './payload.ts';
import { checkPostPolicy, type PostPolicy, parsePostPolicy } from './post-policy.ts';
import { reply, replyEmpty } from './reply.ts';
import type { S3Request } from './request.ts';
import { checkStorageClass } from './storage-class.ts';
import { type Tags, tagsOfXml } from './tags.ts';
import { versionHeaders } from './version-headers.ts';
import { leaf, plainDocument } from './xml.ts';
import { readXml } from './xml-reader.ts';

type Fields = PostedForm['fields'];

export async function postObject(request: S3Request): Promise<void> {
  const { limits, store } = request.service;
  request.sendContinue();
  const type = request.header('content-type') ?? '';
  if (!/^multipart\/form-data\b/i.test(type)) {
    const Condition = 'Bucket POST must be of the enclosure-type multipart/form-data';
    throw refuse('PreconditionFailed', undefined, { Condition });
  }
  const form = await readForm(type, bodyOf(request), limits.maxFormBytes);
  const { fields } = form;
  // biome-ignore lint/suspicious/noTemplateCurlyInString: forms write the file's name this way
  const key = fields.get('key')?.replaceAll('${filename}', form.fileName) ?? '';
  if (key === '') {
    throw refuse(
      'InvalidArgument',
      "Bucket POST must contain a field named 'key'. If it is specified, please check the order of the fields.",
      {
        ArgumentName: 'key',
        ArgumentValue: '',
      },
    );
  }
  const policy = await authenticateForm(request, fields);
  request.nameForm(key, fields);
  const tags = tagsOfForm(request, fields);
  request.givenTags = tags;
  const bucket = await authorizeWrite(request);
  const field = (name: string): string | undefined => fields.get(name);
  checkStorageClass(request, bucket, field('x-amz-storage-class'));
  const encryption = wantedEncryption(request, field);
  const expectedMd5 = md5Of(field('content-md5'));
  const body = new Upload(form.file, policy?.length, limits.maxPutBytes);
  const { algorithm, expected } = checksumField(fields);
  const hasher = await request.service.checksums.hasher(algorithm);
  let checksum = '';
  const result = await store.putObject(request, objectName(bucket, key), {
    ...described(request, form),
    groups: {
      ...(tags !== undefined && { tags }),
      ...accessGroups(request, bucket),
      ...(await lockGroups(request, bucket, (name) => fields.get(name))),
    },
    body: body.pass(
      (chunk) => hasher.update(chunk),
      () => {
        checksum = hasher.digest();
        if (expected !== undefined && expected !== checksum) throw badChecksum(algorithm);
      },
    ),
    length: undefined,
    cause: 'Post',
    maxLength: limits.maxPutBytes,
    finish: () => ({ checksums: { [algorithm]: checksum } }),
    ...(encryption !== undefined && { encryption }),
    ...(expectedMd5 !== undefined && { expectedEtag: expectedMd5 }),
  });
  if (result.kind === 'no-container') throw noSuchBucket(request.bucket);
  request.extraHeaders.push(
    ...versionHeaders(result.versionId),
    ...encryptionHeaders(request, result.encryption, field),
  );
  answer(request, fields, key, result.etag);
}

function bodyOf(request: S3Request): AsyncIterable<Uint8Array> {
  const { env, limits } = request.service;
  return new RequestBody(request.incoming, {
    clock: env.clock,
    timeoutMs: limits.clientTimeoutMs,
    maxBytes: limits.maxPutBytes + 2 * limits.maxFormBytes,
    pace: request.pace,
    received: (bytes) => {
      request.bytesReceived += bytes;
    },
  });
}

/** Undefined: nobody signed. @throws S3Error */
async function authenticateForm(
  request: S3Request,
  fields: Fields,
): Promise<PostPolicy | undefined> {
  const text = fields.get('policy');
  const signs = ['x-amz-signature', 'signature', 'awsaccesskeyid'].some((name) => fields.has(name));
  request.caller = ANONYMOUS;
  if (text === undefined) {
    if (!signs) return undefined;
    throw refuse(
      'InvalidArgument',
      "Bucket POST must contain a field named 'policy'. If it is specified, please check the order of the fields.",
      {
        ArgumentName: 'policy',
        ArgumentValue: '',
      },
    );
  }
  if (fields.has('x-amz-signature')) await withSigV4(request, fields, text);
  else await withSigV2(request, fields, text);
  const policy = parsePostPolicy(text);
  checkPostPolicy(policy, fields, request.bucket, request.nowMicros / 1000);
  return policy;
}

async function withSigV4(request: S3Request, fields: Fields, text: string): Promise<void> {
  const [access = '', day = '', region = '', service = '', end] = required(
    fields,
    'x-amz-credential',
  ).split('/');
  if (required(fields, 'x-amz-algorithm') !== 'AWS4-HMAC-SHA256' || end !== 'aws4_request') {
    throw refuse('InvalidArgument', 'Unsupported signature algorithm.');
  }
  if (service !== 's3' || !required(fields, 'x-amz-date').startsWith(day))
    throw refuse('AccessDenied');
  const sessionToken = fields.get('x-amz-security-token');
  const key = { access, day, region, service, ...(sessionToken !== undefined && { sessionToken }) };
  const signer = await request.service.signers.findS3Key(key);
  if (signer === undefined) {
    throw refuse('InvalidAccessKeyId', undefined, { AWSAccessKeyId: access });
  }
  const signature = required(fields, 'x-amz-signature');
  if (!sameSignature(sign(signer.signingKey, text), signature))
    throw refuse('SignatureDoesNotMatch');
  request.caller = signer.caller;
  request.signature = { access, payload: undefined, version: 4, form: 'post' };
}

async function withSigV2(request: S3Request, fields: Fields, text: string): Promise<void> {
  const access = required(fields, 'awsaccesskeyid');
  const signature = required(fields, 'signature');
  const sessionToken = fields.get('x-amz-security-token');
  const { signers } = request.service;
  const caller = await signers.checkSigV2(access, [text], signature, sessionToken);
  if (caller === 'no-such-key') {
    throw refuse('InvalidAccessKeyId', undefined, { AWSAccessKeyId: access });
  }
  if (caller === undefined) throw refuse('SignatureDoesNotMatch');
  request.caller = caller;
  request.signature = { access, payload: undefined, version: 2, form: 'post' };
}

function required(fields: Fields, name: string): string {
  const value = fields.get(name);
  if (value !== undefined && value !== '') return value;
  throw refuse('InvalidArgument', `Bucket POST must contain a field named '${name}'.`, {
    ArgumentName: name,
    ArgumentValue: '',
  });
}

const SYSTEM = [
  'cache-control',
  'content-disposition',
  'content-encoding',
  'content-language',
  'expires',
];

function described(request: S3Request, { fields }: PostedForm) {
  const user: Record<string, string> = {};
  const system: Record<string, string> = {};
  let bytes = 0;
  for (const [name, value] of fields) {
    if (name.startsWith('x-amz-meta-')) {
      user[`x-object-meta-${name.slice('x-amz-meta-'.length)}`] = value;
      bytes += name.length - 'x-amz-meta-'.length + Buffer.byteLength(value);
    } else if (SYSTEM.includes(name) && value !== '') system[name] = value;
  }
  if (bytes > request.service.limits.maxMetadataBytes) throw refuse('MetadataTooLarge');
  const redirect = fields.get(REDIRECT_HEADER);
  if (redirect !== undefined) system[REDIRECT_HEADER] = checkRedirect(redirect);
  return { contentType: fields.get('content-type') || DEFAULT_CONTENT_TYPE, user, system };
}

function tagsOfForm(request: S3Request, fields: Fields): Tags | undefined {
  const tagging = fields.get('tagging');
  if (tagging === undefined) return undefined;
  return tagsOfXml(readXml(Buffer.from(tagging), 'Tagging'), request.service.limits.maxTags);
}

function checksumField(fields: Fields) {
  const algorithm = namedChecksum(fields.keys()) ?? DEFAULT_ALGORITHM;
  const expected = fields.get(headerOf(algorithm));
  if (expected === undefined || isChecksum(algorithm, expected)) return { algorithm, expected };
  throw refuse('InvalidRequest', `Value for ${headerOf(algorithm)} header is invalid.`);
}

/** The file, with its length in the policy's range. */
class Upload {
  readonly #file: AsyncIterable<Uint8Array>;
  readonly #range: PostPolicy['length'];
  readonly #most: number;

  constructor(file: AsyncIterable<Uint8Array>, range: PostPolicy['length'], most: number) {
    this.#file = file;
    this.#range = range;
    this.#most = most;
  }

  async *pass(update: (chunk: Uint8Array) => void, end: () => void): AsyncGenerator<Uint8Array> {
    const [least, most] = this.#range ?? [0, this.#most];
    let length = 0;
    for await (const chunk of this.#file) {
      length += chunk.length;
      if (length > most)
        throw refuse('EntityTooLarge', undefined, { MaxSizeAllowed: String(most) });
      update(chunk);
      yield chunk;
    }
    if (length < least)
      throw refuse('EntityTooSmall', undefined, { MinSizeAllowed: String(least) });
    end();
  }
}

/** As the form wishes: a redirect, or 200, 201 with a document, 204. */
function answer(request: S3Request, fields: Fields, key: string, etag: string): void {
  const { bucket } = request;
  const redirect = fields.get('success_action_redirect') ?? fields.get('redirect');
  const parent = request.hostBucket === undefined ? `/${bucket}` : '';
  const location = `${request.address}${parent}/${encodeURIComponent(key)}`;
  const headers = ['ETag', `"${etag}"`, 'Location', location];
  const target = redirect === undefined ? null : URL.parse(redirect);
  const status = fields.get('success_action_status');
  if (target?.protocol === 'http:' || target?.protocol === 'https:') {
    target.searchParams.set('bucket', bucket);
    target.searchParams.set('key', key);
    target.searchParams.set('etag', `"${etag}"`);
    replyEmpty(request, 303, ['ETag', `"${etag}"`, 'Location', target.href]);
    return;
  }
  if (status !== '201') {
    replyEmpty(request, status === '200' ? 200 : 204, headers);
    return;
  }
  const content =
    leaf('Location', location) +
    leaf('Bucket', bucket) +
    leaf('Key', key) +
    leaf('ETag', `"${etag}"`);
  headers.push('Content-Type', 'application/xml');
  reply(request, 201, headers, plainDocument('PostResponse', content));
}
