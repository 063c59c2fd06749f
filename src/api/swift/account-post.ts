/** POST of an account: metadata, for its owners. */
import { authorizeAccount } from './access.ts';
import { checkMerged, headerChanges, setsMetadata } from './metadata.ts';
import { replyEmpty } from './reply.ts';
import type { SwiftRequest } from './request.ts';

export async function accountPost(request: SwiftRequest): Promise<void> {
  authorizeAccount(request, 'admin');
  await changeAccount(request);
  replyEmpty(request, 204);
}

export async function changeAccount(request: SwiftRequest): Promise<void> {
  const { store, limits } = request.service;
  const changes = headerChanges(request, 'account', []);
  if (setsMetadata(changes, 'account')) {
    const info = await store.accountInfo(request, request.account);
    checkMerged('account', info.headers, changes, limits);
  }
  await store.updateAccount(request, request.account, changes);
}
