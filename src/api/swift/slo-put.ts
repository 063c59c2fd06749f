/**
 * PUT ?multipart-manifest=put: every part is looked up and compared with what the client says of it
 * before the manifest is stored; all that is wrong is reported at once, as Swift does.
 */
import { contentTypeOf, type EntryState } from '#base/entry.ts';
import { codeOf } from '#base/errors.ts';
import { encodeManifest, type ManifestPart, manifestLength } from '#proxy/manifest.ts';
import { parallel } from '../http/parallel.ts';
import { parseRange } from '../http/ranges.ts';
import { collect } from '../http/request-body.ts';
import { decideAt } from './access.ts';
import { chooseReportFormat, type Problem, problem, reportBody } from './bulk-report.ts';
import { answerTo, refuse, statusLine } from './errors.ts';
import { dataOf, shownEtag } from './object-headers.ts';
import { bodyOf, declaredLength, replyStored, sendContinue, uploadFacts } from './object-upload.ts';
import { reply } from './reply.ts';
import type { SwiftRequest } from './request.ts';
import { manifestEtag, parseManifest, type WantedPart } from './slo-manifest.ts';

export async function sloPut(request: SwiftRequest): Promise<void> {
  const { limits, store } = request.service;
  const length = declaredLength(request, limits.maxManifestBytes);
  const { expectedEtag, ...facts } = uploadFacts(request);
  const format = chooseReportFormat(request);
  sendContinue(request);
  const bytes = await collect(bodyOf(request, length, limits.maxManifestBytes));
  const wanted = parseManifest(bytes, limits);
  refuseItself(request, wanted);
  const { parts, problems } = await checkParts(request, wanted);
  if (problems.length > 0) {
    const body = reportBody(format, 'upload', {}, problems);
    return reply(request, 400, ['Content-Type', format], body);
  }
  const etag = manifestEtag(parts);
  if (expectedEtag !== undefined && expectedEtag !== etag) throw refuse('etag-mismatch');
  const manifest = encodeManifest({ kind: 'static', parts });
  const size = manifestLength(parts);
  const result = await store.putObject(request, request.objectName, {
    ...facts,
    body: one(manifest),
    length: manifest.length,
    maxLength: manifest.length,
    manifest: { kind: 'static', etag: `${etag}-${parts.length}`, size },
  });
  replyStored(request, result);
}

async function* one(bytes: Buffer): AsyncGenerator<Buffer> {
  yield bytes;
}

function refuseItself(request: SwiftRequest, wanted: readonly WantedPart[]): void {
  const { container, object } = request.objectName;
  if (!wanted.some((part) => part.container === container && part.object === object)) return;
  const path = `/${container}/${object}`;
  throw refuse('conflict', `Manifest object name "${path}" cannot be included in the manifest`);
}

interface CheckedParts {
  readonly parts: ManifestPart[];
  readonly problems: Problem[];
}

async function checkParts(
  request: SwiftRequest,
  wanted: readonly WantedPart[],
): Promise<CheckedParts> {
  const states = await statAll(request, wanted);
  const parts: ManifestPart[] = [];
  const problems: Problem[] = [];
  for (const part of wanted) {
    const path = `/${part.container}/${part.object}`;
    const found = states.get(path)!;
    const checked = typeof found === 'string' ? found : comparePart(request, part, found);
    if (typeof checked === 'string') problems.push(problem(path, checked));
    else parts.push(checked);
  }
  return { parts, problems };
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
