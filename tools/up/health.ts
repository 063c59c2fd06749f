/** What a proxy on this machine says of itself. */
import http from 'node:http';
import https from 'node:https';

const ASK_TIMEOUT_MS = 2_000;

/** Over TLS where it serves TLS; whose certificate that is, is for clients to care about. */
export async function isHealthy(port: number): Promise<boolean> {
  const at = { host: '127.0.0.1', port, path: '/healthcheck', timeout: ASK_TIMEOUT_MS };
  return (
    (await answersOk(http.get(at))) || answersOk(https.get({ ...at, rejectUnauthorized: false }))
  );
}

function answersOk(request: http.ClientRequest): Promise<boolean> {
  return new Promise((resolve) => {
    request.once('timeout', () => request.destroy());
    request.once('error', () => resolve(false));
    request.once('response', (response) => {
      response.resume();
      resolve(response.statusCode === 200);
    });
  });
}
