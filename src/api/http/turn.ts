/** Runs an operation when its tenant's turn has come, and tells when it is over. */
import type { Tenant } from '#proxy/fairness/fairness.ts';
import type { Exchange } from './exchange.ts';

export async function inTurn(
  request: Exchange,
  tenant: Tenant,
  run: () => Promise<void> | void,
): Promise<void> {
  const { fairness } = request.service;
  if (fairness === undefined) return await run();
  const entered = fairness.enter(tenant, () => request.signal);
  const turn = entered instanceof Promise ? await entered : entered;
  request.pace = turn.pace;
  try {
    await run();
  } finally {
    turn.leave(request.bytesReceived + request.bytesSent);
  }
}
