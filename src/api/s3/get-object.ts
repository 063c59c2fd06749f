/** GetObject: the object's bytes, in whole, by ranges or one part. */

import { mayBeTold } from './absence.ts';
import { authorize, objectName } from './access.ts';
import { noSuchKey } from './bucket.ts';
import { contentOf } from './content.ts';
import { readWithKey } from './encryption-headers.ts';
import { expirationOf } from './lifecycle.ts';
import { wantedPart } from './part-number.ts';
import type { S3Request } from './request.ts';
import { answeredByCondition, sendContent, sendSpan } from './send-content.ts';
import { versionId } from './version-id.ts';

export async function getObject(request: S3Request): Promise<void> {
  const bucket = await authorize(request, 's3:GetObject');
  versionId(request);
  readWithKey(request);
  const name = objectName(bucket, request.key);
  const reader = await request.service.store.openObject(request, name);
  if (reader === undefined) throw await mayBeTold(request, bucket, noSuchKey(request.key));
  const content = await contentOf(request, bucket, name, reader);
  const part = wantedPart(request, content);
  if (answeredByCondition(request, content)) return;
  const headers = [...(part?.headers ?? []), ...expirationOf(request, bucket, reader.state)];
  if (part === undefined || part.span.start === part.span.end) {
    return await sendContent(request, content, headers);
  }
  await sendSpan(request, content, part.span, headers);
}
