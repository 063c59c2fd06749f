/**
 * Many slow uploads at once: what do they cost in memory? Each connection sends a fixed rate; the
 * process exits when all were answered. argv[2]: ThrottledPlan as JSON; prints the count of 201s.
 */
import { connect } from 'node:net';

export interface ThrottledPlan {
  readonly host: string;
  readonly port: number;
  readonly uploads: number;
  readonly bytesPerSecond: number;
  readonly seconds: number;
  readonly path: string;
  readonly token: string;
}

const TICK_MS = 100;

function upload(plan: ThrottledPlan, n: number): Promise<boolean> {
  const total = plan.bytesPerSecond * plan.seconds;
  const piece = Buffer.alloc((plan.bytesPerSecond * TICK_MS) / 1000, 'slow ');
  return new Promise((resolve) => {
    const socket = connect({ host: plan.host, port: plan.port });
    let sent = 0;
    let timer: NodeJS.Timeout | undefined;
    const end = (ok: boolean): void => {
      clearInterval(timer);
      socket.destroy();
      resolve(ok);
    };
    socket.once('connect', () => {
      const head = [`PUT ${plan.path}${n} HTTP/1.1`, `Host: ${plan.host}:${plan.port}`];
      head.push(`X-Auth-Token: ${plan.token}`, `Content-Length: ${total}`, '', '');
      socket.write(head.join('\r\n'));
      timer = setInterval(() => {
        const chunk = piece.subarray(0, Math.min(piece.length, total - sent));
        sent += chunk.length;
        socket.write(chunk);
        if (sent === total) clearInterval(timer);
      }, TICK_MS);
    });
    socket.once('data', (answer) => end(answer.toString('latin1', 9, 12) === '201'));
    socket.once('error', () => end(false));
  });
}

const plan: ThrottledPlan = JSON.parse(process.argv[2] ?? '{}');
const done = await Promise.all(Array.from({ length: plan.uploads }, (_, n) => upload(plan, n)));
process.stdout.write(`${done.filter(Boolean).length}\n`);
