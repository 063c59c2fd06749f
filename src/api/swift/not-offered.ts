/**
 * What other Swift clusters may offer and this one does not (nor is it in /info). Ignored, it would
 * be dangerous: who asks for versions, or for a link, must not find out later that there are none.
 */
import { titleCase } from '../http/utf8.ts';
import { refuse } from './errors.ts';
import type { Resource } from './metadata.ts';
import type { SwiftRequest } from './request.ts';

const HEADERS: Readonly<Record<Resource, readonly string[]>> = {
  account: ['x-account-access-control'],
  container: [
    'x-versions-location',
    'x-history-location',
    'x-container-sync-to',
    'x-container-sync-key',
  ],
  object: ['x-symlink-target'],
};

/** @throws Refusal 400 */
export function refuseNotOffered(request: SwiftRequest, resource: Resource): void {
  if (request.method !== 'PUT' && request.method !== 'POST') return;
  if (request.query.has('extract-archive')) {
    throw refuse('bad-request', 'extract-archive is not offered by this cluster');
  }
  for (const name of HEADERS[resource]) {
    const value = request.header(name);
    if (value === undefined || value === '') continue;
    throw refuse('bad-request', `${titleCase(name)} is not offered by this cluster`);
  }
}
