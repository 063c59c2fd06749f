/** PUT of an account, for reseller admins, where account management is on. */

import { authorizeManagement } from './account-delete.ts';
import { changeAccount } from './account-post.ts';
import { replyAccepted, replyEmpty } from './reply.ts';
import type { SwiftRequest } from './request.ts';

export async function accountPut(request: SwiftRequest): Promise<void> {
  authorizeManagement(request);
  const before = await request.service.store.accountInfo(request, request.account);
  await changeAccount(request);
  if (before.exists) replyAccepted(request);
  else replyEmpty(request, 201);
}
