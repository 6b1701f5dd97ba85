// Which room may know which: see docs/architecture.md.
module.exports = {
  forbidden: [
    { name: 'no-circular', severity: 'error', from: {}, to: { circular: true } },
    {
      name: 'api-knows-no-engine',
      comment: 'The API process never loads models or the addon.',
      severity: 'error',
      from: { path: '^src/' },
      to: { path: '^(worker|native|weights|scripts|bench|test|web)/' },
    },
    {
      name: 'pages-know-the-client-only',
      comment: 'What a browser runs knows the server by the typed client; types cost nothing.',
      severity: 'error',
      from: { path: '^web/' },
      to: {
        path: '^(src/(?!client/)|(worker|native|weights|scripts|bench|test)/)',
        dependencyTypesNot: ['type-only'],
      },
    },
    {
      name: 'settings-know-nobody',
      severity: 'error',
      from: { path: '^src/config[/.]' },
      to: { path: '^src/(?!config/|(errors|paths)\\.ts)' },
    },
    {
      name: 'only-the-app-knows-sessions',
      severity: 'error',
      from: { path: '^src/', pathNot: '^src/(session/|client/|contract/|app\\.ts|services\\.ts)' },
      to: { path: '^src/session/' },
    },
    {
      name: 'client-knows-types-only',
      comment: 'It runs in browsers, and anywhere without the server.',
      severity: 'error',
      from: { path: '^src/client/' },
      to: {
        pathNot: '^src/client/|^node_modules/eventsource-parser/',
        dependencyTypesNot: ['type-only'],
      },
    },
    {
      name: 'contract-knows-schemas-only',
      severity: 'error',
      from: { path: '^src/contract/' },
      to: {
        path: '^src/(?!contract/|(answers|config|errors|paths)\\.ts|.*schema\\.ts|queue/update\\.ts)',
        dependencyTypesNot: ['type-only'],
      },
    },
    {
      name: 'server-knows-no-client',
      severity: 'error',
      from: { path: '^src/', pathNot: '^src/client/' },
      to: { path: '^src/client/' },
    },
    {
      name: 'meters-and-spans-know-nobody',
      severity: 'error',
      from: { path: '^src/observe/' },
      to: { path: '^src/(?!(observe/|errors\\.ts))', dependencyTypesNot: ['type-only'] },
    },
    {
      name: 'only-the-app-knows-operators',
      severity: 'error',
      from: { path: '^src/', pathNot: '^src/(operator/|app\\.ts)' },
      to: { path: '^src/operator/', dependencyTypesNot: ['type-only'] },
    },
    {
      name: 'providers-know-no-service',
      comment:
        'Speech and dialogue turn audio into text and text into audio, for nobody in particular.',
      severity: 'error',
      from: { path: '^src/(speech|dialogue|provider|media)/' },
      to: { path: '^src/(store|account|role|conversation|session|task|queue|tempfile|fleet)/' },
    },
    {
      name: 'queue-knows-no-service',
      severity: 'error',
      from: { path: '^src/queue/' },
      to: {
        path: '^src/(?!queue/|observe/traceparent\\.ts|(config|errors|json|log|paths|repeated)\\.ts)',
      },
    },
    {
      name: 'fleet-knows-the-queue-only',
      severity: 'error',
      from: { path: '^src/fleet/' },
      to: { path: '^src/(?!(fleet|queue)/|limit/counts\\.ts|(alive|config|errors|json)\\.ts)' },
    },
    {
      name: 'tables-belong-to-three-rooms',
      severity: 'error',
      from: {
        path: '^src/',
        pathNot: '^src/(store|account|role|conversation|app|server|services)',
      },
      to: { path: '^src/store/', dependencyTypesNot: ['type-only'] },
    },
    {
      name: 'worker-knows-the-queue-only',
      severity: 'error',
      from: { path: '^worker/' },
      to: {
        path: '^(src/(?!(queue|media)/|observe/(scope|trace)\\.ts|(abort|alive|config|errors|paths|log)\\.ts)|weights/(?!manifest\\.ts)|(scripts|bench|test)/)',
      },
    },
    {
      name: 'engine-and-weights-stand-alone',
      severity: 'error',
      from: { path: '^(native|weights)/' },
      to: { path: '^(src/(?!(alive|errors|paths)\\.ts)|(worker|scripts|bench|test|web)/)' },
    },
    {
      name: 'weights-know-no-engine',
      severity: 'error',
      from: { path: '^weights/' },
      to: { path: '^native/' },
    },
    {
      name: 'nothing-but-tests-imports-tests',
      comment: 'Measurements may use the same fakes of foreign services.',
      severity: 'error',
      from: { pathNot: '^(test|bench)/' },
      to: { path: '^test/' },
    },
    {
      name: 'measurements-use-fakes-only',
      severity: 'error',
      from: { path: '^bench/' },
      to: { path: '^test/(?!(fakes|fixtures)/)' },
    },
    { name: 'resolvable', severity: 'error', from: {}, to: { couldNotResolve: true } },
    {
      name: 'no-dev-packages-in-the-product',
      severity: 'error',
      from: { path: '^(src|worker|native|weights|scripts)/' },
      to: { dependencyTypes: ['npm-dev'], dependencyTypesNot: ['type-only'] },
    },
  ],
  options: {
    doNotFollow: { path: 'node_modules' },
    exclude: { path: '^(dist|build|node_modules)/' },
    tsConfig: { fileName: 'tsconfig.json' },
    tsPreCompilationDeps: true,
    enhancedResolveOptions: {
      exportsFields: ['exports'],
      conditionNames: ['import', 'require', 'node', 'default'],
    },
  },
};
