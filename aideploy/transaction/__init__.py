"""What a rollout is made of: where its hosts stand, what each is told, what their failures lead to.

`rollout` puts these together; commands take single words and scripts from here.
"""
