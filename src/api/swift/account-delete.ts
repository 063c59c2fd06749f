/**
 * DELETE of an account, for reseller admins, where account management is on. An account exists by
 * its containers and metadata: deleting it clears the metadata and is refused while it has containers.
 */
import { authorizeAccount, ownsEveryAccount } from './access.ts';
import { refuse } from './errors.ts';
import { methodNotAllowed } from './methods.ts';
import { replyEmpty, replyNotFound } from './reply.ts';
import type { SwiftRequest } from './request.ts';

export async function accountDelete(request: SwiftRequest): Promise<void> {
  authorizeManagement(request);
  const { store } = request.service;
  const page = await store.listContainers(request, request.account, { limit: 1 });
  if (page !== undefined && page.items.length > 0) throw refuse('conflict');
  const info = page?.info ?? (await store.accountInfo(request, request.account));
  if (!info.exists) return replyNotFound(request);
  const cleared = Object.fromEntries(Object.keys(info.headers).map((name) => [name, null]));
  await store.updateAccount(request, request.account, cleared);
  replyEmpty(request, 204);
}

/** Reseller admins own every account, also one that is no project's; nobody else owns that one. */
export function authorizeManagement(request: SwiftRequest): void {
  if (!request.service.accountManagement) throw methodNotAllowed('account', false);
  authorizeAccount(request, 'admin');
  if (!ownsEveryAccount(request)) throw refuse('forbidden');
}
