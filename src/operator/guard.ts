import type { FastifyRequest } from 'fastify';
import { type Config, isLoopback } from '../config.js';
import { CodedError } from '../errors.js';
import { sameSecret } from '../limit/trusted.js';

type Asked = Pick<FastifyRequest, 'headers' | 'hostname'>;

/**
 * Lets an operator in: whoever shows OPERATOR_TOKEN or, as long as none is set, whoever sits at this
 * machine. Throws UNAUTHORIZED and FORBIDDEN.
 */
export function checkOperator({ headers, hostname }: Asked, config: Config): void {
  const { operatorToken: token } = config;
  if (token === undefined) {
    if (isOnlyLocal(config) && isLoopback(hostname) && !isForwarded(headers)) return;
    throw new CodedError(
      'FORBIDDEN',
      'operators are served here only at the machine itself, on its loopback address: set ' +
        'OPERATOR_TOKEN and send Authorization: Bearer <it>',
    );
  }
  if (sameSecret(headers.authorization, `Bearer ${token}`)) return;
  throw new CodedError('UNAUTHORIZED', 'this needs Authorization: Bearer <OPERATOR_TOKEN>');
}

/**
 * Behind a proxy everybody comes from a loopback address. The name in the Host header counts too:
 * a page may point its own name to 127.0.0.1.
 */
function isOnlyLocal({ host, clientUrl, trustedProxies }: Config): boolean {
  return (
    isLoopback(host) && trustedProxies === undefined && isLoopback(new URL(clientUrl).hostname)
  );
}

function isForwarded(headers: FastifyRequest['headers']): boolean {
  return ['forwarded', 'x-forwarded-for', 'x-real-ip', 'via'].some((name) => name in headers);
}
