/**
 * Answers of operations that may take long (copies, completing an upload): after some seconds the
 * status goes out as 200 and a blank now and then keeps clients and balancers from giving up; what
 * fails later stands in the body as an error, as S3's clients know it.
 */
import { errorAnswer } from './errors.ts';
import { reply, writeHead } from './reply.ts';
import type { S3Request } from './request.ts';
import { leaf } from './xml.ts';

const FIRST_MS = 5_000;
const EVERY_MS = 10_000;
const DECLARATION = '<?xml version="1.0" encoding="UTF-8"?>\n';

/** `work` gives the XML document and headers; the headers only count when it was fast enough. */
export async function replyWhenDone(
  request: S3Request,
  work: () => Promise<{ readonly xml: string; readonly headers?: readonly string[] }>,
): Promise<void> {
  const { clock } = request.service.env;
  const { response } = request;
  let begun = false;
  const beat = (): void => {
    if (!begun) {
      writeHead(request, 200, ['Content-Type', 'application/xml']);
      response.write(DECLARATION);
    } else response.write(' ');
    begun = true;
    timer = clock.setTimer(EVERY_MS, beat);
  };
  let timer = clock.setTimer(FIRST_MS, beat);
  try {
    const { xml, headers = [] } = await work();
    if (!begun) return reply(request, 200, [...headers, 'Content-Type', 'application/xml'], xml);
    response.end(xml.slice(DECLARATION.length));
  } catch (error) {
    if (!begun) throw error;
    const { code, message } = errorAnswer(error);
    response.end(
      `<Error>${leaf('Code', code)}${leaf('Message', message)}${leaf('RequestId', request.txn)}</Error>`,
    );
  } finally {
    timer.cancel();
  }
}
