/** PUT of an object: bytes, a static manifest (`multipart-manifest=put`), or a copy (X-Copy-From). */
import { authorize } from './access.ts';
import { objectCopyFrom, restoreVersion } from './object-copy.ts';
import { bodyOf, declaredLength, replyStored, sendContinue, uploadFacts } from './object-upload.ts';
import type { SwiftRequest } from './request.ts';
import { sloPut } from './slo-put.ts';

export async function objectPut(request: SwiftRequest): Promise<void> {
  if (request.header('x-copy-from') !== undefined) return await objectCopyFrom(request);
  if (request.query.has('version-id')) return await restoreVersion(request);
  await authorize(request, 'write');
  if (request.query.get('multipart-manifest') === 'put') return await sloPut(request);
  const { store, limits } = request.service;
  const length = declaredLength(request, limits.maxFileBytes);
  const facts = uploadFacts(request);
  const result = await store.putObject(request, request.objectName, {
    ...facts,
    body: bodyOf(request, length, limits.maxFileBytes),
    length,
    maxLength: limits.maxFileBytes,
    onReady: () => sendContinue(request),
  });
  replyStored(request, result);
}
