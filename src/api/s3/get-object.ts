/** GetObject: the object's bytes, in whole, by ranges or one part. */

import { authorize, objectName } from './access.ts';
import { contentOf } from './content.ts';
import { readWithKey } from './encryption-headers.ts';
import { expirationOf } from './lifecycle.ts';
import { partChecksumHeaders } from './part-checksums.ts';
import { wantedPart } from './part-number.ts';
import type { S3Request } from './request.ts';
import { answeredByCondition, sendContent, sendSpan } from './send-content.ts';
import { isMarker, notFound, versionId } from './version-id.ts';

export async function getObject(request: S3Request): Promise<void> {
  const version = versionId(request);
  const bucket = await authorize(request, 's3:GetObject', version);
  readWithKey(request);
  const name = objectName(bucket, request.key, version);
  const reader = await request.service.store.openObject(request, name);
  if (reader === undefined || isMarker(reader.state)) throw await notFound(request, bucket, name);
  const content = await contentOf(request, bucket, name, reader);
  const part = wantedPart(request, content);
  if (answeredByCondition(request, content)) return;
  const headers = [...(part?.headers ?? []), ...expirationOf(request, bucket, reader.state)];
  if (part === undefined || part.span.start === part.span.end) {
    return await sendContent(request, content, headers);
  }
  headers.push(...(await partChecksumHeaders(request, content, part)));
  await sendSpan(request, content, part.span, headers);
}
