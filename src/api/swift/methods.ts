/** Which methods each kind of resource takes. */
import { type Refusal, refuse } from './errors.ts';
import type { Resource } from './metadata.ts';

const METHODS: Readonly<Record<Resource, string>> = {
  account: 'DELETE, GET, HEAD, OPTIONS, POST, PUT',
  container: 'DELETE, GET, HEAD, OPTIONS, POST, PUT',
  object: 'COPY, DELETE, GET, HEAD, OPTIONS, POST, PUT',
};

/** PUT and DELETE of an account are offered only where account management is on. */
export function allowedMethods(resource: Resource, accountManagement: boolean): string {
  if (resource === 'account' && !accountManagement) return 'GET, HEAD, OPTIONS, POST';
  return METHODS[resource];
}

export function methodNotAllowed(resource: Resource, accountManagement: boolean): Refusal {
  return refuse('method-not-allowed', undefined, [
    'Allow',
    allowedMethods(resource, accountManagement),
  ]);
}
