export { defaultAsrModel, dashscopeRecogniser } from './recogniser.js';
export { defaultTtsModel, dashscopeSynthesiser } from './synthesiser.js';
