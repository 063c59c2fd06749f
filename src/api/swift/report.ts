/**
 * Answers of work that may take long (bulk deletes, manifests of many parts): the status goes out at
 * once, what became of it stands in the body, as in Swift.
 */
import { codeOf } from '#base/errors.ts';
import {
  chooseReportFormat,
  type Facts,
  type Problem,
  type ReportRoot,
  reportBody,
} from './bulk-report.ts';
import { answerTo, Refusal } from './errors.ts';
import { writeHead } from './reply.ts';
import type { SwiftRequest } from './request.ts';

/** A space now and then keeps clients and proxies between from giving up. */
export const KEEP_ALIVE_MS = 10_000;

export interface Report {
  readonly facts: Facts;
  readonly problems: readonly Problem[];
}

/** `work` reports what goes wrong; it throws only when nobody is there to be told. */
export async function replyWithReport(
  request: SwiftRequest,
  status: number,
  root: ReportRoot,
  work: () => Promise<Report>,
): Promise<void> {
  const format = chooseReportFormat(request);
  const { response } = request;
  writeHead(request, status, ['Content-Type', format]);
  const { clock } = request.service.env;
  let timer = clock.setTimer(KEEP_ALIVE_MS, keepAlive);
  function keepAlive(): void {
    response.write(' ');
    timer = clock.setTimer(KEEP_ALIVE_MS, keepAlive);
  }
  try {
    const { facts, problems } = await work();
    response.end(Buffer.from(reportBody(format, root, facts, problems)));
  } finally {
    timer.cancel();
  }
}

/** Why all of it failed, for the report. */
export interface Failure {
  readonly status: number;
  readonly text: string;
}

/** @throws the error itself where the client is gone */
export function failureOf(error: unknown): Failure {
  const code = codeOf(error);
  if (code === 'client-gone') throw error;
  const { status, text } = answerTo(code);
  const said = error instanceof Refusal ? error.text : undefined;
  return { status, text: said ?? text ?? '' };
}
