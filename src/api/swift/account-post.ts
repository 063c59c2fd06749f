/** POST of an account: metadata, for its owners. */
import type { HeaderChanges } from '#proxy/contract.ts';
import { BYTE_RATE_HEADER, REQUEST_RATE_HEADER } from '#proxy/fairness/fairness.ts';
import { authorizeAccount, ownsEveryAccount } from './access.ts';
import { refuse } from './errors.ts';
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
  checkQuotaChanges(request, changes);
  if (setsMetadata(changes, 'account')) {
    const info = await store.accountInfo(request, request.account);
    checkMerged('account', info.headers, changes, limits);
  }
  await store.updateAccount(request, request.account, changes);
}

const QUOTAS = [
  'x-account-meta-quota-bytes',
  'x-account-meta-quota-count',
  REQUEST_RATE_HEADER,
  BYTE_RATE_HEADER,
] as const;

/** An account's quota is set by who owns all accounts, not by the account. @throws Refusal 400, 403 */
function checkQuotaChanges(request: SwiftRequest, changes: HeaderChanges): void {
  for (const name of QUOTAS) {
    const value = changes[name];
    if (value === undefined) continue;
    if (!ownsEveryAccount(request)) throw refuse('forbidden');
    if (value !== null && !/^\d{1,15}$/.test(value))
      throw refuse('bad-request', 'Invalid account quota.');
  }
}
