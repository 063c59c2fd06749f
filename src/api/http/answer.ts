/**
 * The course of every request: it is answered exactly once, by its operation or here by the dialect's
 * table of errors. Once the status line is out, an error can only cut the connection, and does.
 */
import { codeOf, messageOf, OperatingError } from '#base/errors.ts';
import { drain } from './drain.ts';
import type { Exchange } from './exchange.ts';

export interface Dialect<Request extends Exchange> {
  /** In the log's event names. */
  readonly name: string;
  readonly serve: (request: Request) => Promise<void> | void;
  /** Answers with what an error means; returns the status. */
  readonly replyError: (request: Request, error: unknown) => number;
}

/** Never rejects. */
export async function answer<Request extends Exchange>(
  request: Request,
  dialect: Dialect<Request>,
): Promise<void> {
  const { clock } = request.service.env;
  const started = clock.monotonicMs();
  try {
    await dialect.serve(request);
  } catch (error) {
    fail(request, dialect, error);
  }
  if (!request.incoming.complete) drain(request);
  request.service.finished({
    txn: request.txn,
    operation: request.label,
    method: request.method,
    path: request.path,
    status: request.response.statusCode,
    elapsedMs: clock.monotonicMs() - started,
    bytesReceived: request.bytesReceived,
    bytesSent: request.bytesSent,
  });
}

/** Ours, not the client's; 501 tells of what is not offered, which anybody may ask for all day. */
export function isFailure(status: number): boolean {
  return status >= 500 && status !== 501;
}

function fail<Request extends Exchange>(
  request: Request,
  { name, replyError }: Dialect<Request>,
  error: unknown,
): void {
  const { response } = request;
  const { log } = request.service.env;
  const facts = { txn: request.txn, operation: request.label, code: codeOf(error) };
  if (response.headersSent || response.destroyed) {
    // Half an answer must not look like a whole one.
    response.destroy();
    if (facts.code !== 'client-gone') {
      log.warn(`${name}.broken-off`, { ...facts, message: messageOf(error) });
    }
    return;
  }
  const status = replyError(request, error);
  if (!isFailure(status)) return;
  const known = status !== 500;
  const level = known ? 'warn' : 'error';
  const stack = known || !(error instanceof Error) ? undefined : error.stack;
  // What replicas answered, or why they did not: without it nobody knows where to look.
  const codes = error instanceof OperatingError ? error.facts['codes'] : undefined;
  log[level](`${name}.failed`, { ...facts, status, message: messageOf(error), codes, stack });
}
