"""A CNN among scikit-learn's own estimators: in a pipeline, cross-validated, tuned in two processes.

    pip install cnnfast[sklearn]
    python examples/scikit_learn.py

The exit code is 1 if the test accuracy is below 96 %.
"""

import sys

import numpy as np
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, cross_val_score, train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler

from cnnfast.sklearn import CNNClassifier

if __name__ == "__main__":  # the processes of n_jobs=2 import this file
    X, y = load_digits(return_X_y=True)  # rows of 64 pixels
    X_train, X_test, y_train, y_test = train_test_split(X.astype(np.float32), y, stratify=y, random_state=0)

    cnn = CNNClassifier(image_shape=(8, 8), epochs=10, batch_size=64, learning_rate=0.003, random_state=0)
    pipeline = make_pipeline(MinMaxScaler(), cnn)
    linear = make_pipeline(MinMaxScaler(), LogisticRegression(max_iter=1000))
    for name, model in (("logistic regression", linear), ("CNN", pipeline)):
        print(f"{name:20} {cross_val_score(model, X_train, y_train, cv=3).mean():.2%} in cross-validation")

    search = GridSearchCV(pipeline, {"cnnclassifier__learning_rate": [0.001, 0.005]}, cv=2, n_jobs=2).fit(X_train, y_train)
    accuracy = search.score(X_test, y_test)
    print(f"{'best CNN':20} {accuracy:.2%} of {len(y_test)} images it had not seen, with {search.best_params_}")
    sys.exit(accuracy < 0.96)
