/**
 * What to do with a body that an early refusal left unread. A little of it is read and thrown away,
 * so that the client, still sending, gets to see the answer (a connection closed with bytes unread
 * is reset, and the reset may overtake the answer); beyond that the connection is cut.
 */
import type { Exchange } from './exchange.ts';

/** For a client that sends on slowly, or not at all. */
const DRAIN_MS = 5_000;

export function drain(request: Exchange): void {
  const { incoming, response, service } = request;
  const { socket } = incoming;
  if (socket.destroyed) return;
  // Nobody knows whether this client still sends its body: the next bytes can't be told apart.
  if (request.expectsContinue && !request.continued) {
    if (response.writableFinished) socket.end();
    else response.once('finish', () => socket.end());
    return;
  }
  let left = service.limits.maxDiscardBytes;
  const timer = service.env.clock.setTimer(DRAIN_MS, () => socket.destroy());
  const stop = (): void => timer.cancel();
  incoming.on('data', (chunk: Buffer) => {
    left -= chunk.length;
    if (left < 0) socket.destroy();
  });
  incoming.once('end', stop);
  incoming.once('close', stop);
  incoming.on('error', stop);
  incoming.resume();
}
