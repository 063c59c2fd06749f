/** What the parts shared by the dialects need of a request under way. */
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Env } from '#env/env.ts';

export interface Exchange {
  readonly incoming: IncomingMessage;
  readonly response: ServerResponse;
  readonly expectsContinue: boolean;
  /** `100 Continue` has been sent. */
  readonly continued: boolean;
  bytesSent: number;
  readonly service: {
    readonly env: Pick<Env, 'clock'>;
    readonly limits: {
      /** A body that does not move for this long ends its request. */
      readonly clientTimeoutMs: number;
      /** What is read and thrown away after an early refusal, before the connection is cut. */
      readonly maxDiscardBytes: number;
    };
  };
}
