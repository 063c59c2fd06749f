/**
 * PUT ?multipart-manifest=put: every part is looked up and compared with what the client says of it
 * before the manifest is stored; all that is wrong is reported at once, as Swift does.
 */
import { hash } from 'node:crypto';
import { contentTypeOf, type EntryState } from '#base/entry.ts';
import { codeOf } from '#base/errors.ts';
import type { PutResult } from '#proxy/contract.ts';
import { defaultEncryption } from '#proxy/encryption/default-encryption.ts';
import { encodeManifest, type ManifestPart, manifestLength } from '#proxy/manifest.ts';
import { httpDate, lastModifiedSeconds } from '../http/http-date.ts';
import { parallel } from '../http/parallel.ts';
import { parseRange } from '../http/ranges.ts';
import { collect } from '../http/request-body.ts';
import { decideAt } from './access.ts';
import {
  chooseReportFormat,
  type Facts,
  type Problem,
  problem,
  reportBody,
} from './bulk-report.ts';
import { answerTo, refuse, statusLine } from './errors.ts';
import { dataOf, shownEtag } from './object-headers.ts';
import {
  bodyOf,
  declaredLength,
  expectStored,
  replyStored,
  sendContinue,
  type UploadFacts,
  uploadFacts,
} from './object-upload.ts';
import { reply } from './reply.ts';
import { failureOf, replyWithReport } from './report.ts';
import type { SwiftRequest } from './request.ts';
import { type GivenPart, manifestEtag, parseManifest, type WantedPart } from './slo-manifest.ts';

export async function sloPut(request: SwiftRequest): Promise<void> {
  const { limits } = request.service;
  const length = declaredLength(request, limits.maxManifestBytes);
  const facts = uploadFacts(request);
  const format = chooseReportFormat(request);
  sendContinue(request);
  const bytes = await collect(bodyOf(request, length, limits.maxManifestBytes));
  const wanted = parseManifest(bytes, limits);
  refuseItself(request, wanted);
  await refuseUnsealedBytes(request, wanted);
  if (request.query.isTrue('heartbeat')) return await putWithHeartbeat(request, facts, wanted);
  const outcome = await putParts(request, facts, wanted);
  if (outcome.kind === 'stored') return replyStored(request, outcome.result);
  const body = reportBody(format, 'upload', {}, outcome.problems);
  reply(request, 400, ['Content-Type', format], body);
}

/** `heartbeat=on`: 202 at once, the outcome in the body, for manifests whose check takes long. */
async function putWithHeartbeat(
  request: SwiftRequest,
  facts: UploadFacts,
  wanted: readonly AnyPart[],
): Promise<void> {
  await replyWithReport(request, 202, 'upload', async () => {
    try {
      const outcome = await putParts(request, facts, wanted);
      if (outcome.kind === 'stored') return { facts: storedFacts(outcome.result), problems: [] };
      const status = { 'Response Status': statusLine(400), 'Response Body': '' };
      return { facts: status, problems: outcome.problems };
    } catch (error) {
      const { status, text } = failureOf(error);
      return {
        facts: { 'Response Status': statusLine(status), 'Response Body': text },
        problems: [],
      };
    }
  });
}

function storedFacts(result: PutResult): Facts {
  expectStored(result);
  return {
    'Response Status': '201 Created',
    'Response Body': '',
    Etag: `"${shownEtag(result.etag)}"`,
    'Last Modified': httpDate(lastModifiedSeconds(result.clientMicros)),
  };
}

type Outcome =
  | { readonly kind: 'stored'; readonly result: PutResult }
  | { readonly kind: 'problems'; readonly problems: readonly Problem[] };

async function putParts(
  request: SwiftRequest,
  { expectedEtag, ...facts }: UploadFacts,
  wanted: readonly AnyPart[],
): Promise<Outcome> {
  const { parts, problems } = await checkParts(request, wanted);
  if (problems.length > 0) return { kind: 'problems', problems };
  const etag = manifestEtag(parts);
  if (expectedEtag !== undefined && expectedEtag !== etag) throw refuse('etag-mismatch');
  const manifest = encodeManifest({ kind: 'static', parts });
  const size = manifestLength(parts);
  const result = await request.service.store.putObject(request, request.objectName, {
    ...facts,
    body: one(manifest),
    length: manifest.length,
    maxLength: manifest.length,
    manifest: { kind: 'static', etag: `${etag}-${parts.length}`, size },
  });
  return { kind: 'stored', result };
}

/** A manifest is stored as it is, so bytes in it would not be encrypted as the container promises. */
async function refuseUnsealedBytes(
  request: SwiftRequest,
  wanted: readonly AnyPart[],
): Promise<void> {
  if (wanted.every(isObject)) return;
  const info = await request.service.store.containerInfo(request, request.containerName, false);
  if (info === undefined || defaultEncryption(info) === undefined) return;
  throw refuse('bad-request', 'The container encrypts: it takes no inline data segments.\n');
}

async function* one(bytes: Buffer): AsyncGenerator<Buffer> {
  yield bytes;
}

type AnyPart = WantedPart | GivenPart;

function isObject(part: AnyPart): part is WantedPart {
  return 'object' in part;
}

function refuseItself(request: SwiftRequest, wanted: readonly AnyPart[]): void {
  const { container, object } = request.objectName;
  const objects = wanted.filter(isObject);
  if (!objects.some((part) => part.container === container && part.object === object)) return;
  const path = `/${container}/${object}`;
  throw refuse('conflict', `Manifest object name "${path}" cannot be included in the manifest`);
}

interface CheckedParts {
  readonly parts: ManifestPart[];
  readonly problems: Problem[];
}

async function checkParts(
  request: SwiftRequest,
  wanted: readonly AnyPart[],
): Promise<CheckedParts> {
  const states = await statAll(request, wanted.filter(isObject));
  const parts: ManifestPart[] = [];
  const problems: Problem[] = [];
  for (const part of wanted) {
    if (!isObject(part)) {
      parts.push(dataPart(part));
      continue;
    }
    const path = `/${part.container}/${part.object}`;
    const found = states.get(path)!;
    const checked = typeof found === 'string' ? found : comparePart(request, part, found);
    if (typeof checked === 'string') problems.push(problem(path, checked));
    else parts.push(checked);
  }
  return { parts, problems };
}

function dataPart({ bytes }: GivenPart): ManifestPart {
  const etag = hash('md5', bytes, 'hex');
  return { path: '', data: bytes.toString('base64'), etag, size: bytes.length };
}

/** By path; a text is the status that stands for a part that can't be had. */
async function statAll(
  request: SwiftRequest,
  wanted: readonly WantedPart[],
): Promise<Map<string, EntryState | string>> {
  const byPath = new Map(wanted.map((part) => [`/${part.container}/${part.object}`, part]));
  const states = new Map<string, EntryState | string>();
  await parallel(byPath, request.service.limits.bulkConcurrency, async ([path, part]) => {
    states.set(path, await statPart(request, part));
  });
  return states;
}

async function statPart(request: SwiftRequest, part: WantedPart): Promise<EntryState | string> {
  const name = { account: request.account, container: part.container, object: part.object };
  try {
    const decision = await decideAt(request, name, 'read');
    if (!decision.allowed) return statusLine(decision.status);
    return (await request.service.store.statObject(request, name)) ?? statusLine(404);
  } catch (error) {
    if (codeOf(error) === 'client-gone') throw error;
    return statusLine(answerTo(codeOf(error)).status);
  }
}

/** A text says what does not fit. */
function comparePart(
  request: SwiftRequest,
  part: WantedPart,
  state: EntryState,
): ManifestPart | string {
  const data = dataOf(state);
  if (part.size !== undefined && part.size !== data.size) return 'Size Mismatch';
  if (part.etag !== undefined && part.etag !== shownEtag(data.etag)) return 'Etag Mismatch';
  const least = request.service.limits.minPartBytes;
  if (data.size < least) return `Too Small; each segment must be at least ${least} byte.`;
  const nested = data.manifest === 'static' || data.manifest === 'multipart';
  const known: ManifestPart = {
    path: `/${request.account}/${part.container}/${part.object}`,
    etag: data.etag,
    size: data.size,
    contentType: contentTypeOf(state),
    clientMicros: data.clientMicros,
    ...(nested && { nested }),
  };
  if (part.range === undefined) return known;
  const span = parseRange(`bytes=${part.range}`, data.size)?.[0];
  if (span === undefined) return 'Unsatisfiable Range';
  const whole = span.start === 0 && span.end === data.size;
  return whole ? known : { ...known, range: [span.start, span.end] };
}
