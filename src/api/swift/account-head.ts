/** HEAD of an account: its totals and metadata. */
import { authorizeAccount } from './access.ts';
import { accountHeaders } from './account-headers.ts';
import { listingType } from './listing-query.ts';
import { reply } from './reply.ts';
import type { SwiftRequest } from './request.ts';

export async function accountHead(request: SwiftRequest): Promise<void> {
  authorizeAccount(request, 'account-read');
  const type = listingType(request);
  const info = await request.service.store.accountInfo(request, request.account);
  const headers = accountHeaders(request, info);
  headers.push('Content-Type', `${type}; charset=utf-8`);
  reply(request, 204, headers);
}
