"""What models are asked, and when an answer is right: helpers of knowledge and salience.

probe             which facts are asked, and how answers are judged; published_rule: the published way to judge them
servers, weights  whether servers would answer, and the identity of a model in this process
"""
