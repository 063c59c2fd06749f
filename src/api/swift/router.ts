/** From a method and a located target to the operation behind it. */
import { accountDelete } from './account-delete.ts';
import { accountGet } from './account-get.ts';
import { accountHead } from './account-head.ts';
import { accountPost } from './account-post.ts';
import { accountPut } from './account-put.ts';
import { bulkDelete } from './bulk-delete.ts';
import { containerDelete } from './container-delete.ts';
import { containerGet } from './container-get.ts';
import { containerHead } from './container-head.ts';
import { containerPost } from './container-post.ts';
import { containerPut } from './container-put.ts';
import type { Resource } from './metadata.ts';
import { objectCopy } from './object-copy.ts';
import { objectDelete } from './object-delete.ts';
import { objectGet } from './object-get.ts';
import { objectHead } from './object-head.ts';
import { objectPost } from './object-post.ts';
import { objectPut } from './object-put.ts';
import type { SwiftRequest } from './request.ts';
import type { Target } from './target.ts';

export type OperationHandler = (request: SwiftRequest) => Promise<void>;

export interface Route {
  /** For logs and metrics. */
  readonly label: string;
  readonly run: OperationHandler;
}

const ROUTES: Readonly<Record<Resource, ReadonlyMap<string, Route>>> = {
  account: routes('account', {
    DELETE: accountDelete,
    GET: accountGet,
    HEAD: accountHead,
    POST: accountPost,
    PUT: accountPut,
  }),
  container: routes('container', {
    DELETE: containerDelete,
    GET: containerGet,
    HEAD: containerHead,
    POST: containerPost,
    PUT: containerPut,
  }),
  object: routes('object', {
    COPY: objectCopy,
    DELETE: objectDelete,
    GET: objectGet,
    HEAD: objectHead,
    POST: objectPost,
    PUT: objectPut,
  }),
};

const BULK_DELETE: Route = { label: 'bulk.delete', run: bulkDelete };

function routes(
  resource: Resource,
  handlers: Readonly<Record<string, OperationHandler>>,
): ReadonlyMap<string, Route> {
  const entries = Object.entries(handlers);
  return new Map(
    entries.map(([method, run]) => [method, { label: `${resource}.${method.toLowerCase()}`, run }]),
  );
}

export function resourceOf(target: Target): Resource {
  if (target.object !== undefined) return 'object';
  return target.container === undefined ? 'account' : 'container';
}

/** Undefined: the resource does not take the method. */
export function findRoute(
  method: string,
  resource: Resource,
  isBulkDelete: boolean,
): Route | undefined {
  if (isBulkDelete && (method === 'POST' || method === 'DELETE')) return BULK_DELETE;
  return ROUTES[resource].get(method);
}
