/** HEAD of an object: from its state alone, where that says all. */
import type { EntryState, ManifestKind } from '#base/entry.ts';
import type { VersionedName } from '#proxy/contract.ts';
import { manifestKind } from '#proxy/manifest.ts';
import { contentRange } from '../http/ranges.ts';
import { latin1FromUtf8 } from '../http/utf8.ts';
import { authorize } from './access.ts';
import { largeContent } from './content.ts';
import { type Face, faceOf, objectHeaders } from './object-headers.ts';
import { partNumber, partSpan } from './part-number.ts';
import { replyNoObject, writeHead } from './reply.ts';
import type { SwiftRequest } from './request.ts';
import { answeredByCondition } from './send-content.ts';
import { manifestView } from './slo-get.ts';
import { isMarker, wantedVersion } from './versions.ts';

export async function objectHead(request: SwiftRequest): Promise<void> {
  await authorize(request, 'read');
  const name = await wantedVersion(request);
  const state = await request.service.store.statObject(request, name);
  if (state === undefined || isMarker(state)) return replyNoObject(request);
  if (state.degraded) request.extraHeaders.push('X-Anello-Read', 'degraded');
  const kind = manifestKind(state);
  if (kind === undefined) return sendHead(request, faceOf(state));
  await headOfLarge(request, name, state, kind);
}

async function headOfLarge(
  request: SwiftRequest,
  name: VersionedName,
  state: EntryState,
  kind: ManifestKind,
): Promise<void> {
  const raw = request.query.get('multipart-manifest') === 'get';
  const number = partNumber(request);
  // The size and etag of a static one are in its state; a dynamic one's are what a listing gives.
  const stateSaysAll = kind === 'dynamic' ? raw : !raw && number === undefined;
  if (stateSaysAll) return sendHead(request, faceOf(state));
  const reader = await request.service.store.openObject(request, name);
  if (reader === undefined) return replyNoObject(request);
  if (raw) return sendHead(request, (await manifestView(request, reader)).face);
  const content = await largeContent(request, name, reader);
  if (number === undefined || content.parts === undefined) return sendHead(request, content.face);
  const span = partSpan(content.parts, number);
  sendHead(request, content.face, [
    'Content-Range',
    contentRange(span, content.face.length),
    'X-Parts-Count',
    String(content.parts.length),
    'Content-Length',
    String(span.end - span.start),
  ]);
}

/** `part`: headers of an answer for one part (206). */
function sendHead(request: SwiftRequest, face: Face, part?: readonly string[]): void {
  if (answeredByCondition(request, face)) return;
  const headers = objectHeaders(face);
  headers.push('Content-Type', latin1FromUtf8(face.contentType));
  headers.push(...(part ?? ['Content-Length', String(face.length)]));
  writeHead(request, part === undefined ? 200 : 206, headers);
  request.response.end();
}
