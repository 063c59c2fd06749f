/** GET of an object. */
import { manifestKind } from '#proxy/manifest.ts';
import { authorize } from './access.ts';
import { type Content, largeContent, ownContent } from './content.ts';
import { partNumber, partSpan } from './part-number.ts';
import { replyNoObject } from './reply.ts';
import type { SwiftRequest } from './request.ts';
import { answeredByCondition, sendContent, sendSpan } from './send-content.ts';
import { manifestView } from './slo-get.ts';
import { isMarker, wantedVersion } from './versions.ts';

export async function objectGet(request: SwiftRequest): Promise<void> {
  await authorize(request, 'read');
  const name = await wantedVersion(request);
  const reader = await request.service.store.openObject(request, name);
  if (reader === undefined || isMarker(reader.state)) return replyNoObject(request);
  const kind = manifestKind(reader.state);
  if (kind === undefined) return await sendContent(request, ownContent(reader));
  if (request.query.get('multipart-manifest') === 'get') {
    const own = kind === 'dynamic' ? ownContent(reader) : await manifestView(request, reader);
    return await sendContent(request, own);
  }
  const content = await largeContent(request, name, reader);
  const number = partNumber(request);
  if (number === undefined || content.parts === undefined)
    return await sendContent(request, content);
  await sendPart(request, content, number);
}

async function sendPart(request: SwiftRequest, content: Content, number: number): Promise<void> {
  if (answeredByCondition(request, content.face)) return;
  const parts = content.parts ?? [];
  const span = partSpan(parts, number);
  await sendSpan(request, content, span, ['X-Parts-Count', String(parts.length)]);
}
