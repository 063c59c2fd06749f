/**
 * POST of an object: replaces its metadata as a whole. As in Swift, the content type stays unless
 * given; the other system headers and the expiry go unless given again.
 */
import { authorize } from './access.ts';
import { givenContentType, guessContentType } from './content-type.ts';
import { refuse } from './errors.ts';
import { deleteAt } from './expiry.ts';
import { objectMetadata } from './metadata.ts';
import { systemHeaders, systemValues } from './object-headers.ts';
import { checkObjectName, dynamicHeader } from './object-upload.ts';
import { replyAccepted, replyNotFound } from './reply.ts';
import type { SwiftRequest } from './request.ts';

export async function objectPost(request: SwiftRequest): Promise<void> {
  await authorize(request, 'write');
  const name = request.objectName;
  checkObjectName(request, name.object);
  if (request.query.has('version-id')) {
    throw refuse('bad-request', 'Metadata of older versions cannot be changed');
  }
  const user = objectMetadata(request);
  const expires = deleteAt(request) ?? null;
  const system = { ...systemHeaders(request), ...dynamicHeader(request) };
  const contentType = await newContentType(request);
  if (contentType !== undefined) system['content-type'] = contentType;
  const change = { user, system, deleteAt: expires };
  const outcome = await request.service.store.updateObject(request, name, change);
  if (outcome === 'not-found') return replyNotFound(request);
  replyAccepted(request);
}

/**
 * System values are replaced as one group, so a type that an earlier POST set must be said again.
 * (The type of the PUT itself stands behind the group and needs nothing.)
 */
async function newContentType(request: SwiftRequest): Promise<string | undefined> {
  const given = givenContentType(request);
  if (given !== undefined) return given;
  if (request.isTrue('x-detect-content-type')) return guessContentType(request.objectName.object);
  const state = await request.service.store.statObject(request, request.objectName);
  return state === undefined ? undefined : systemValues(state)['content-type'];
}
