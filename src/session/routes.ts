import type { FastifyPluginAsync } from 'fastify';
import { createEchoMimic } from './echomimic/index.js';
import { createLifeEcho } from './life-echo/index.js';
import { traitsOf } from '../fleet/traits.js';
import { SessionManager } from './core/manager.js';
import type { SessionServices } from './services.js';
import { registerSockets } from './socket/transport.js';

/** Both kinds of sessions; closing the application ends them all. */
export const sessionRoutes: FastifyPluginAsync<SessionServices> = async (app, services) => {
  const { config } = services;
  const sessions = new SessionManager(services);
  sessions.start();
  const traits = () => {
    const address = app.server.address();
    return traitsOf(config, typeof address === 'object' ? address?.port : undefined);
  };
  app.addHook('onReady', () => sessions.join(traits));
  app.addHook('onListen', () => void sessions.announce());
  await registerSockets(app, {
    config,
    log: services.log,
    counts: sessions.counts,
    takePass: (pass) => sessions.takePass(pass),
    routes: [
      { url: '/ws', dialect: createEchoMimic(services, sessions) },
      { url: '/ws/conversation/:id', dialect: createLifeEcho(services, sessions) },
    ],
    stop: () => sessions.stop(),
  });
};
