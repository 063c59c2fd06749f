/** DELETE of an object; with `multipart-manifest=delete` of a large object's parts as well. */
import { expirySource } from '#base/entry.ts';
import type { Condition } from '#proxy/condition.ts';
import { authorize } from './access.ts';
import { refuse } from './errors.ts';
import { replyEmpty, replyNotFound } from './reply.ts';
import type { SwiftRequest } from './request.ts';
import { sloDelete } from './slo-delete.ts';
import { versionHeaders, wantedVersion } from './versions.ts';

export async function objectDelete(request: SwiftRequest): Promise<void> {
  await authorize(request, 'write');
  if (request.query.get('multipart-manifest') === 'delete') return await sloDelete(request);
  const { store } = request.service;
  const name = await wantedVersion(request);
  const removal = await store.removeObject(request, name, ifDeleteAt(request));
  switch (removal.kind) {
    case 'locked':
      throw refuse('forbidden', 'The version is locked');
    case 'precondition-failed':
      throw refuse('precondition-failed', 'X-If-Delete-At and X-Delete-At do not match');
    case 'deleted':
      return replyEmpty(request, 204, versionHeaders(removal.versionId));
    default:
      return replyNotFound(request);
  }
}

/** X-If-Delete-At: only the object that is to expire at that time. @throws Refusal 400 */
function ifDeleteAt(request: SwiftRequest): Condition | undefined {
  const text = request.header('x-if-delete-at');
  if (text === undefined) return undefined;
  if (!/^\s*\d{1,15}\s*$/.test(text)) {
    throw refuse('bad-request', 'Bad X-If-Delete-At header value');
  }
  return {
    holds: (current) => current !== undefined && expirySource(current).deleteAt === Number(text),
    weakly: true,
  };
}
