/**
 * Copies, made inside the store: `COPY source` with Destination, or `PUT destination` with
 * X-Copy-From. The source is read as a GET would read it: a large object becomes one plain object,
 * unless `multipart-manifest=get` asks for the manifest itself.
 */
import { expirySource } from '#base/entry.ts';
import type { ObjectName } from '#base/names.ts';
import type { PutRequest, VersionedName } from '#proxy/contract.ts';
import { encryptionOf, showsMd5 } from '#proxy/encryption/encryption.ts';
import { manifestKind } from '#proxy/manifest.ts';
import { httpDate, lastModifiedSeconds } from '../http/http-date.ts';
import { EMPTY_BODY } from '../http/request-body.ts';
import { latin1FromUtf8, percentDecode, percentEncodePath, titleCase } from '../http/utf8.ts';
import { authorizeOther } from './access.ts';
import { checkConditions, unquote } from './conditions.ts';
import { type Content, largeContent, ownContent } from './content.ts';
import { givenContentType } from './content-type.ts';
import { refuse } from './errors.ts';
import { deleteAt } from './expiry.ts';
import { checkMetadata, objectMetadata } from './metadata.ts';
import {
  DYNAMIC_HEADER,
  dataOf,
  systemHeaders,
  systemValues,
  userValues,
} from './object-headers.ts';
import { checkObjectName, conditionOf, dynamicHeader, replyStored } from './object-upload.ts';
import { replyNotFound } from './reply.ts';
import type { SwiftRequest } from './request.ts';
import { bytesOf, requestedSpans, sendUnsatisfiable, validatorsOf } from './send-content.ts';
import { parseObjectPath } from './target.ts';
import { isMarker, wantedVersion } from './versions.ts';

/** COPY /v1/account/container/object */
export async function objectCopy(request: SwiftRequest): Promise<void> {
  const to = otherName(request, 'destination', 'destination-account');
  await copy(request, await wantedVersion(request), to);
}

/** `PUT ?version-id=`: makes an older version current again, as a new one with the same content. */
export async function restoreVersion(request: SwiftRequest): Promise<void> {
  expectNoBody(request);
  await copy(request, await wantedVersion(request), request.objectName);
}

/** PUT with X-Copy-From */
export async function objectCopyFrom(request: SwiftRequest): Promise<void> {
  expectNoBody(request);
  const from = otherName(request, 'x-copy-from', 'x-copy-from-account');
  await copy(request, from, request.objectName);
}

function expectNoBody(request: SwiftRequest): void {
  const length = request.header('content-length');
  if ((length === undefined || length === '0') && !request.header('transfer-encoding')) return;
  throw refuse('bad-request', 'Copy requests require a zero byte body');
}

/** @throws Refusal 412 where the header is no `container/object` */
function otherName(request: SwiftRequest, header: string, accountHeader: string): ObjectName {
  const decoded = percentDecode(request.header(header) ?? '');
  const path = decoded === undefined ? undefined : parseObjectPath(decoded);
  const shown = titleCase(header);
  if (path === undefined) {
    const what = `${shown} header must be of the form <container name>/<object name>`;
    throw refuse('precondition-failed', what);
  }
  const given = request.header(accountHeader);
  const account = given === undefined ? request.account : percentDecode(given);
  if (account === undefined || account === '' || account.includes('/')) {
    throw refuse('precondition-failed', `${titleCase(accountHeader)} must be an account name`);
  }
  return { account, ...path };
}

async function copy(request: SwiftRequest, from: VersionedName, to: ObjectName): Promise<void> {
  await authorizeOther(request, from, 'read');
  await authorizeOther(request, to, 'write');
  checkObjectName(request, to.object);
  const { store, limits } = request.service;
  const reader = await store.openObject(request, from);
  if (reader === undefined || isMarker(reader.state)) return replyNotFound(request);
  const kind = manifestKind(reader.state);
  // The parts of an upload are one object's own: two manifests over them would outlive each other.
  const shareable = kind !== undefined && kind !== 'multipart';
  const asManifest = shareable && request.query.get('multipart-manifest') === 'get';
  const large = kind !== undefined && !asManifest;
  const content = large ? await largeContent(request, from, reader) : ownContent(reader);
  // If-None-Match is about the destination, and nothing is sent that could be `not modified`.
  if (checkConditions(request, validatorsOf(content.face)) === 'failed') {
    throw refuse('precondition-failed');
  }
  const length = asManifest ? reader.length : content.face.length;
  const span = copiedSpan(request, length);
  if (span === undefined) return sendUnsatisfiable(request, content.face);
  if (span.end - span.start > limits.maxFileBytes) throw refuse('body-too-large');
  const whole = span.end - span.start === length;
  const facts = copyFacts(request, content, asManifest);
  const result = await store.putObject(request, to, {
    ...facts,
    body: length === 0 ? EMPTY_BODY : bytesOf(content, span),
    length: span.end - span.start,
    maxLength: limits.maxFileBytes,
    ...expectation(request, whole && !large && !asManifest ? content : undefined),
  });
  replyStored(request, result, [...sourceHeaders(from, content), ...metadataHeaders(facts)]);
}

function copiedSpan(
  request: SwiftRequest,
  length: number,
): { start: number; end: number } | undefined {
  const spans = requestedSpans(request, length);
  return spans === undefined ? { start: 0, end: length } : spans[0];
}

/** What the copy's MD5 must be: as the client says, else what a plain source's is known to be. */
function expectation(
  request: SwiftRequest,
  source: Content | undefined,
): { readonly expectedEtag?: string } {
  const etag = request.header('etag');
  if (etag) return { expectedEtag: unquote(etag).toLowerCase() };
  if (source === undefined || !showsMd5(source.face.state)) return {};
  return { expectedEtag: source.face.etag };
}

/** The copy's own metadata: the source's, then what this request says, unless X-Fresh-Metadata. */
function copyFacts(
  request: SwiftRequest,
  content: Content,
  asManifest: boolean,
): Omit<PutRequest, 'body' | 'length' | 'maxLength'> {
  const { state } = content.face;
  const data = dataOf(state);
  const fresh = request.isTrue('x-fresh-metadata');
  const old = fresh ? undefined : systemValues(state);
  const expires = deleteAt(request) ?? (fresh ? undefined : expirySource(state).deleteAt);
  const system: Record<string, string> = { ...old, ...systemHeaders(request) };
  for (const name of ['content-type', 'delete-at', DYNAMIC_HEADER]) delete system[name];
  const pattern = systemValues(state)[DYNAMIC_HEADER];
  if (asManifest && pattern !== undefined) system[DYNAMIC_HEADER] = pattern;
  const manifest =
    asManifest && (data.manifest === 'static' || data.manifest === 'multipart')
      ? {
          kind: data.manifest,
          etag: data.etag,
          size: data.size,
          encryption: encryptionOf(state),
        }
      : undefined;
  const user = { ...(fresh ? {} : userValues(state)), ...objectMetadata(request) };
  checkMetadata('object', user, request.service.limits);
  return {
    contentType: givenContentType(request) ?? content.face.contentType,
    user,
    system: { ...system, ...dynamicHeader(request) },
    ...(expires !== undefined && { deleteAt: expires }),
    ...conditionOf(request),
    ...(manifest !== undefined && { manifest }),
  };
}

function sourceHeaders(from: ObjectName, content: Content): string[] {
  const { clientMicros } = dataOf(content.face.state);
  return [
    'X-Copied-From',
    percentEncodePath(`${from.container}/${from.object}`),
    'X-Copied-From-Account',
    percentEncodePath(from.account),
    'X-Copied-From-Last-Modified',
    httpDate(lastModifiedSeconds(clientMicros)),
  ];
}

/** What the copy has, by which a client sees what came along. */
function metadataHeaders({ user, deleteAt }: Pick<PutRequest, 'user' | 'deleteAt'>): string[] {
  const headers = Object.entries(user).flatMap(([name, value]) => [
    titleCase(name),
    latin1FromUtf8(value),
  ]);
  return deleteAt === undefined ? headers : [...headers, 'X-Delete-At', String(deleteAt)];
}
